"""What comes in: one module a kind of input."""
