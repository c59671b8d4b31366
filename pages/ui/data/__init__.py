"""Looking at data, and arranging what is done to it."""
