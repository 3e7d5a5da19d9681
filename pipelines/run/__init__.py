"""The run directory: recipe, schemas, parts with done-markers, manifest, lock."""
