"""Explanations of a decision, from its working paper: structured stories, and the sentences in them.

May import: contract, config, te.cycle_state, te.routing, te.traffic, te.evidence, te.decision.
Read: stories, sentences.
"""
