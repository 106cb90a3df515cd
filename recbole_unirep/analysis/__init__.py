"""Statistics and figures of semantic IDs and runs: arrays in, numbers and figures out."""
