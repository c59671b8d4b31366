"""Each side in a process of its own, which knows nothing of the others."""
