"""Benchmarks: each goal beside its anchor, measured in the same run."""
