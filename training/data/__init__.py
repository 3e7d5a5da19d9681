"""The data path of training: what is read, in which order, and what a checkpoint has seen."""
