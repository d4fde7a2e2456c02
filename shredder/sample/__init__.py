"""Step 2: sample noisy and clean activations."""
