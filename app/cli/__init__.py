"""The command `autopilot`, put together in main from one file per subject.

May import anything below it.
Read: main, output, tables, check, injectors, situation, show, explain, explain_text, latency, latency_stages, watch,
sizing, docs.
"""
