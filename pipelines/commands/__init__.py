"""The command line, one module a group, each loaded only when it is called."""
