"""Files written whole or not at all, locks, checksums and manifests."""
