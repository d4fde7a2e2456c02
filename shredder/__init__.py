"""What the scripts share: one module for each room of the house, each formula written once."""
