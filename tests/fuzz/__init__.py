"""Mutated bytes through every reader: agents, page, command line, and the batches below them (`make fuzz`)."""
