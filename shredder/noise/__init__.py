"""Noise: what is stored, how queries draw from it, how much it lets through."""
