"""The master's first process: it holds the authority's key, starts the others, and unpickles nothing."""
