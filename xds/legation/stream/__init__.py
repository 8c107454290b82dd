"""Stage 5, one xDS stream as a state machine: events in, commands out. Names, versions and bytes; no I/O, no clock."""
