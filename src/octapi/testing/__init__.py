"""A real cluster on this computer, for tests of users' own programs, demonstrations and benchmarks."""

from octapi.testing.embedded import EmbeddedCluster

__all__ = ["EmbeddedCluster"]
