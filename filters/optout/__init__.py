"""Training opt-outs: what each channel says about one picture, and what follows from all of them together."""
