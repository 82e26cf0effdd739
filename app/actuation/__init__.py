"""What each router's speaker should hold now, why, and the safe way there; and the end of what nobody renews.

May import: contract, config, bgp, te, metrics.
Read: pop_actuator, reconciler, overrides, admission, safe_order, bmp_witness, speaker_state, render, driver, journal,
reaper, dryrun.
"""
