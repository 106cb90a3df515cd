"""Raw files to a dataset folder, with item texts and their vectors. Of recbole_unirep it imports files/ alone."""
