"""One xDS stream as a state machine: events in, commands out, and no clock, socket or message type of its own.

`Stream` (machine.py) takes `events` and gives `commands`; `subscription` is what the client asked for, `track` what it
has of one type; `gate` says what must wait, `linger` what must stay; `sotw` and `delta` are the two dialects.
"""
