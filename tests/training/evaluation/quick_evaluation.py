"""Options that make an evaluation quick."""

QUICK = ["--pictures", "6", "--steps", "2", "--losses", "20", "--device", "cpu"]
