"""From a queue of jobs to batches on their way, and from results back to jobs."""
