"""What you configure: settings, thresholds and the inventory of a PoP, from TOML with every mistake listed.

May import: contract, logs.
Read: settings, settings_rules, thresholds, inventory, inventory_rules, interfaces, collectors, forms, endpoints, keys,
toml, trusted_keys, key_files, http_settings, gobgp_settings, tls_files, folders, changes, docs.
"""
