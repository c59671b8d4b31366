"""The learning-rate finder: which rates to try, the range test that tries them, and what its curve suggests."""
