"""Runs that wait: the queue of this machine, sweeps that fill it, and places to run elsewhere."""
