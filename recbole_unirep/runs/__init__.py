"""A run's folder, log, environment and result."""
