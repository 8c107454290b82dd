"""The order in which types travel, and what the protocol says of each: one row per type, its place is the rule.

A new type is a new row here; `stream` reads the table and knows no type by name. Source: the xDS protocol's "Eventual
consistency considerations" and "ACK and resource type instance version", and Envoy's own handling where it differs.
"""

from __future__ import annotations

from dataclasses import dataclass

from legation import names

SCOPED_ROUTE = names.TYPE_PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
EXTENSION = names.TYPE_PREFIX + "envoy.config.core.v3.TypedExtensionConfig"


@dataclass(frozen=True, slots=True)
class Row:
    """What is particular about a type.

    `full_state`: a state-of-the-world response lists all that the client subscribes to, and what it leaves out is gone;
    an empty first request means everything. `first`: clients do not wait for one by themselves, so it must be there
    before what refers to it. `refers`: the types that one of these may refer to; `warms`: those of them that a client
    asks for and waits for before it uses a new version of this one; `resends`: those that it must be sent again then.
    `lingers`: a removed one stays until nobody in the client refers to it. `together`: what changes in one Snapshot
    goes in one response. `removable`: a client bears to be told that one is gone. `fragile`: a client stops at the first
    bad one of a response, does not name it, and loses those beside it (Envoy names bad clusters and listeners, and takes
    the others).
    """

    type_url: str
    full_state: bool = False
    first: bool = False
    refers: tuple[str, ...] = ()
    warms: tuple[str, ...] = ()
    resends: tuple[str, ...] = ()
    lingers: bool = True
    together: bool = False
    removable: bool = True
    fragile: bool = False


ORDER = (
    # Clusters come first: a route does not wait for its clusters, and one to a cluster that is not there answers 503.
    # Envoy takes a new version of a cluster into service only after it was sent endpoints for it, changed or not.
    Row(
        names.CLUSTER,
        full_state=True,
        first=True,
        refers=(names.CLUSTER, names.ENDPOINT, names.SECRET),
        warms=(names.ENDPOINT, names.SECRET),
        resends=(names.ENDPOINT,),
    ),
    # Next the endpoints, for which new clusters wait.
    Row(names.ENDPOINT, fragile=True),
    # Certificates before the listeners that will hand them out.
    Row(names.SECRET, fragile=True),
    # Listeners before routes: nobody asks for a route before a listener names it. Two listeners on one address are
    # refused, so the one that goes and the one that comes share a response, and neither lingers.
    Row(
        names.LISTENER,
        full_state=True,
        refers=(names.CLUSTER, names.SECRET, names.ROUTE, SCOPED_ROUTE, EXTENSION),
        warms=(names.SECRET, names.ROUTE, EXTENSION),
        lingers=False,
        together=True,
    ),
    # Envoy drops a filter whose extension is removed instead of keeping it, so a removal is never told.
    Row(EXTENSION, refers=(names.CLUSTER, names.SECRET), lingers=False, removable=False),
    # Envoy treats scoped routes as full state, although the protocol's text names only listeners and clusters.
    Row(SCOPED_ROUTE, full_state=True, refers=(names.ROUTE,), warms=(names.ROUTE,)),
    # Last the routes: everything that traffic is sent to is there by now.
    Row(names.ROUTE, refers=(names.CLUSTER,), fragile=True),
)

_RANK = {row.type_url: rank for rank, row in enumerate(ORDER)}


def row(type_url: str) -> Row:
    """The row of a type; for a type that we do not know, one that promises nothing."""
    rank = _RANK.get(type_url)
    return Row(type_url) if rank is None else ORDER[rank]


def rank(type_url: str) -> int:
    """Its place in the order; types that we do not know come last."""
    return _RANK.get(type_url, len(ORDER))
