"""Benchmarks of the promises made in numbers: one module with a constant `BENCH` each, found by scanning."""
