"""gRPC at the data plane's end: bytes to events, commands to bytes, sockets, keepalive, drain. It decides nothing.

`server.Server` listens; `access` is its door, which `identity` tells who is there and `secure` opens to the outside; `ads`
runs one `legation.stream` machine per stream; `codec` is the wire format; `control` is
what all of it asks of the application.
"""
