"""A private PostgreSQL for the tests: the one that benchmarks start, once per test session."""

from bench.postgres import Cluster, PostgresMissing, programs, running_cluster

__all__ = ["Cluster", "PostgresMissing", "programs", "running_cluster"]
