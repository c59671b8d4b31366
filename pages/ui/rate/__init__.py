"""Finding a rate."""
