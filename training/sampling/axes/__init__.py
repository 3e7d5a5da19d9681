"""Axes that prompts may be diversified along: one JSON file each, with its source and its limits."""
