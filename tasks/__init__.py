"""Systems, one a file: networks, cutting points, inputs, labels, shipped noise, defaults."""
