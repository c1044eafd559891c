"""Dask distributed as OctaPi runs it: its scheduler and workers, and its connections under roles."""
