"""Simulated clusters, the demonstrations, and the figures: run `python -m benchmarks --help`."""
