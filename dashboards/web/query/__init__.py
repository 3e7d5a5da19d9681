"""What pages ask of runs: one module a page, functions from an opened run to plain frozen dataclasses."""
