"""Raw files to a dataset folder: item sentences and their vectors. Imports nothing of recbole_unirep."""
