"""The read-only page over our topics, and a worker's state over HTTP.

May import: contract, config.
Read: documents, pop_model, pages, hub, events, truth, state_server.
"""
