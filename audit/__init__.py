"""Floor 2: statistics over ledger columns. No Beam, no torch."""
