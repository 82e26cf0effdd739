"""What each router's speaker should hold now and why, who may write to it, and the safe order of changes.

May import: contract, config, bgp, te, metrics.
Read: pop_actuator, reconciler, overrides, gate, admission, safe_order, render, terms, leases, due, doubt, damping,
bmp_witness, session_witness, speaker_state, driver, ownership, reaper_note, journal, describe, halt_file, timing,
dryrun.
"""
