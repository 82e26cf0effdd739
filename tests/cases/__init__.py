"""Situations that people of this trade reported publicly, each with the right value and how it is derived.

`data/NN-name/` holds the input of a case and `expected.md`: its source, the situation, and what is right.
"""
