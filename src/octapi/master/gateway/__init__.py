"""The scheduler's process: what clients and workers talk to.  Dask unpickles here, so no key is in reach."""
