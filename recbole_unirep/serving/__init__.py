"""recbole_unirep.serving: recommends items from a finished run, for known users or arbitrary item histories."""
