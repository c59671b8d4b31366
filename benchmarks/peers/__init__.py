"""Peers: the same work done by Thaw and by others, in turn. See `python -m benchmarks.peers --help`."""
