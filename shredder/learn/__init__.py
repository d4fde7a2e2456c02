"""Step 1: learn noise."""
