"""The command `autopilot`: one file a subject, put together in main.

May import anything below it.
Read: main, check, show, explain, explain_text, latency, latency_stages, watch, sizing, docs.
"""
