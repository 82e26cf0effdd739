"""Situations that people of the field reported in public, each with its input, its right outcome and its source.

`data/NN-name/` holds the input of a case and `expected.md`: its source, the situation, and what is right.
"""
