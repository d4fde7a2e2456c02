"""What the edge is given, and what it sends for it."""
