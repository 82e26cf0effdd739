"""What you configure: settings, thresholds and the inventory of a PoP, from TOML with every mistake listed.

May import: contract, logs.
Read: settings, thresholds, inventory, inventory_rules, interfaces, collectors, forms, toml, docs.
"""
