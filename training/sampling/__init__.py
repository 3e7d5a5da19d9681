"""Pictures from a checkpoint: samplers, the choice among candidates, and the guards in front of every file."""
