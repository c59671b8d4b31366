"""What a run has said: its records, read once and bounded, however long it is."""
