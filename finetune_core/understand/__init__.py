"""What a run has learned: its predictions."""
