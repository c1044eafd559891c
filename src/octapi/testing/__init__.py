"""A real cluster on this computer, for tests, demonstrations and benchmarks."""
