"""Image-text encoders behind one surface, named by URI (see `load_encoder` in `filters.encoders.uri`)."""
