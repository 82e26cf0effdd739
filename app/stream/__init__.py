"""Faust made exact: batches instead of messages, rows before acknowledgements, and the process ends if either fails.

May import: contract, config, kafka, feeds.rejected, logs, metrics, private_names, tables.store.
Read: exact, waiting, joined, answers, reading, app, worker, consumer, fetching, checksums, producer, membership,
startup, local_state, whole_rows, incarnations, recovery, fence, stall, watchdog, cut_off, final_rows, publish, outbox,
offsets.
"""
