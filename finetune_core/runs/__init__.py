"""Runs: a folder each, and its life from launch to the last checkpoint."""
