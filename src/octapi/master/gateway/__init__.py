"""The scheduler's process on the master: what clients and workers talk to.  Dask unpickles here, so no key is in reach."""
