"""Balance as pure arithmetic over counts: who is left out, what those that stay weigh. Never a copy."""
