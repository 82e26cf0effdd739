"""The command `autopilot`, put together in main from one file per subject.

May import anything below it.
Read: main, options, output, tables, check, injectors, situation, show, explain, explain_text, latency,
latency_stages, watch, rendering, control, reloads, sizing, docs.
"""
