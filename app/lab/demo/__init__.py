"""`make demo`: a story told on the real daemons, watched from outside, and a verdict.

May import anything below it.
Read: run, context, timeline, story, killer, intruder, badrecords, observe, state_client, edges, evidence, bounds,
score, labels, display, truthfile.
"""
