"""What runs in a Dask cluster that OctaPi did not start: a relay in its scheduler, and a pool beside each worker."""
