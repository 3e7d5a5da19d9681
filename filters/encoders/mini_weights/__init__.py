"""The weights of `builtin:mini`, made by `scripts/build_mini.py`. NOTICE names where each is from."""
