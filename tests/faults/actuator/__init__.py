"""Faults of the one part that can break the internet: the actuator, its gobgpds and reapers, and what feeds them.

`rig` runs them, `verdict` says what counts, and each file of rows says what goes wrong and what has to hold then.
Read: verdict, rig, then any file of rows.
"""
