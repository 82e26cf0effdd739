"""The one door to Kafka (client), and readers and writers of our own topics outside of Faust.

May import: contract, config, logs, metrics, private_names.
Read: client, credentials, refusals, bounded, unreadable, untrusted, admin, read, follow, silence, orders, encoding,
direct, topic_ids, broker_time.
"""
