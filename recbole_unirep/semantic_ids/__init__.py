"""A catalogue's semantic IDs: frozen codes, collisions, bundles."""
