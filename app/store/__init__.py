"""The store: models and queries by subject, the unit of work, locks, and the one snapshot a rack is rendered from."""
