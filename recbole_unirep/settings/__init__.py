"""Config keys: names, values, shipped yaml files and their layers."""
