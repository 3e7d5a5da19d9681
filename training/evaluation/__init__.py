"""What a checkpoint can do, what it repeats, and whom it shows: `assay evaluate generation`."""
