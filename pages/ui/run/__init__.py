"""One run: what it does, and what can be done with it."""
