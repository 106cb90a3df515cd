"""Atomic writing of files, locks, checksums and manifests. Imports nothing else of this package."""
