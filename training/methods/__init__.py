"""Ways of training that begin from a checkpoint: adapters, new words, control, few steps."""
