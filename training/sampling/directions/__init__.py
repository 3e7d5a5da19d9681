"""Directions that pictures may be guided along: one JSON file each, with its source and its limits."""
