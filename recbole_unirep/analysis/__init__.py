"""Numbers, then figures: arrays in, floats out."""
