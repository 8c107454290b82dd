"""Stage 4, resources as they are sent: names, versions and bytes. No protobuf, no I/O."""
