"""Pixels to batches: split, read, decode once, augment, batch; and what is wrong with images."""
