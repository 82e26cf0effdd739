"""The simulated PoP: demand, routers that forward by their real tables, sFlow, and the truth to check results against.

May import: contract, config, bgp.
Read: pop, prefixes, scenario, traffic, elastic, engine, exits, natural, forwarding, losses, model, ribs, vty,
announcements, exporter, sampler, packets, sflow, sender, truth, counterfactual, report, run.
"""
