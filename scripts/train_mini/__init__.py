"""The parts of `scripts/build_mini.py`: from packages of public registries to the weights of `builtin:mini`."""
