"""Measurements, each printed by one command as figures taken side by side in one run. Never part of the tests."""
