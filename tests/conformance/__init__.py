"""One test per check of the xDS conformance list, named by its number; each says in its own words what must be so.

Not here, because there is nothing yet that could pass or fail: load reports (G), client status (C), REST (H), TTL and
resource errors (L, E), xdstp collections (X-01, X-02), admission control (Q-01 … Q-03), VHDS (T-04). What resources must
contain (R, V, most of P) is tested where they are rendered; keepalive (K-01 … K-03) is configuration of gRPC that takes
minutes to observe.
"""
