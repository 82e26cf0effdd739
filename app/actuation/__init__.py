"""What each router's speaker should hold now and why, the safe order of changes, and the reaper for expired routes.

May import: contract, config, bgp, te, metrics.
Read: pop_actuator, reconciler, overrides, admission, safe_order, bmp_witness, speaker_state, render, driver, journal,
leases, reaper, dryrun.
"""
