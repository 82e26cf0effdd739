"""How we say why, from the working paper of a decision: structured stories, and the sentences in them.

May import: contract, config, te.cycle_state, te.routing, te.traffic, te.evidence, te.decision.
Read: stories, sentences.
"""
