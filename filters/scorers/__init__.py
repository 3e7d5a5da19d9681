"""Scorers: each computes columns from decoded pictures and captions."""
