"""Documents that law and users ask for, made from the facts of one dataset: the same facts give the same bytes."""
