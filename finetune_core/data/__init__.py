"""From files to batches: listing, splitting, decoding once, augmenting, batching."""
