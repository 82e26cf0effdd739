"""`make demo`: plays a scenario on the real daemons, observes it from outside and gives a verdict.

May import anything below it.
Read: ordinary_user, run, context, timeline, story, killer, intruder, badrecords, forger, observe, state_client, edges,
evidence, bounds, score, labels, display, truthfile.
"""
