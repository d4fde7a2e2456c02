"""The pretrained networks, their cutting points and their weights."""
