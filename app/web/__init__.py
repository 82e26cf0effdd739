"""The read-only web page over our topics, and the state of a worker over HTTP.

May import: contract, config, logs.
Read: documents, conditions, last_seen, override_states, pop_model, users, pages, hub, events, truth, state_server,
server.
"""
