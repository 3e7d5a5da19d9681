"""Applying later opt-outs to a finished dataset: only what holds the sample is rewritten."""
