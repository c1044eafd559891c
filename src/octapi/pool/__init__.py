"""The pool of processes that executes jobs on one computer, for a worker and for a script alone alike."""
