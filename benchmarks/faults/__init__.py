"""Faults: what a run's folder must survive, done to real runs. See `python -m benchmarks.faults --help`."""
