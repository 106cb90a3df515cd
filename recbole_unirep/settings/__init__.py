"""Config keys: known names, values, shipped yaml files and the layers of defaults."""
