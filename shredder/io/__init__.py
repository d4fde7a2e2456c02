"""Files, run records, checkpoints, errors: what every script does alike."""
