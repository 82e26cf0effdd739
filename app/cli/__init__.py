"""The command `autopilot`, put together in main from one file per subject.

May import anything below it.
Read: main, options, output, tables, check, injectors, exposure, policies, decision_size, changelogs, situation, show,
explain, explain_text, latency, latency_stages, watch, reap, rendering, acls, control, reloads, state, sizing,
signing_keys, trusting, site, docs.
"""
