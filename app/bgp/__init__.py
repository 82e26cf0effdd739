"""The BGP speaker: the protocol that everything else uses, GoBGP behind it, and a fake in memory.

May import: contract, config, te.routing.
Read: speaker, memory, gobgp, blocking, client, policy_client, wire, proto.
"""
