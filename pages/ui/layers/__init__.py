"""Choosing a network, and what of it learns."""
