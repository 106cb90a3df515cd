"""Files that appear whole or not at all, locks, checksums and manifests. Imports nothing else of this package."""
