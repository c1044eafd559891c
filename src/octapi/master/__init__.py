"""What runs on the master: Dask's scheduler and the gateway that clients talk to."""
