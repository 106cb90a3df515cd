"""recbole_unirep.serving: recommendations of a finished run, for known users or any history of items."""
