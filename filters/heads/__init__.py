"""Small published heads over CLIP's picture embeddings: aesthetics and NSFW. See `filters.heads.table`."""
