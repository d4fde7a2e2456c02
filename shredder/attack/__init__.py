"""What an informed adversary recovers."""
