"""Situations that people of the field reported in public, each with its input, its right outcome and its source."""
