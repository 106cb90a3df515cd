"""Numbers, then figures: arrays in, floats and drawings out."""
