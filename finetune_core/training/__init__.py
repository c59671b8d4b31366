"""Training: one step after another, and what is measured on the way."""
