"""Whether a route of ours can leak: real edges and their eBGP neighbours under hostile decisions (`make leak-test`)."""
