"""Floor 5: read-only views over runs."""
