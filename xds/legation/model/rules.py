"""What DestinationRules say of a host, as seen by a caller.

Source: Istio's DestinationRule reference; the order of lookup is istiod's: the caller's namespace, the service's, the
root's; the first that has any rule for the host decides alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from legation.model import baseline, hosts, localities, mesh, policies, services, sidecars
from legation.model.balancing import ConsistentHashLB
from legation.model.destination_rule import TrafficPolicy
from legation.model.localities import Preference
from legation.model.meta import Key, Object
from legation.model.policies import Policy
from legation.model.protocols import Protocol
from legation.model.proxy import Capture, Labels, Locality, Role, Scope
from legation.model.recall import Reader
from legation.model.sidecars import Viewer
from legation.names import ClusterName


@dataclass(frozen=True, slots=True)
class Caller:
    """As much of a proxy as DestinationRules look at, and what it sees of the mesh; and whether it knows where calls
    wanted to go, since they were redirected to it.
    """

    viewer: Viewer
    labels: Labels = ()
    locality: Locality = Locality()
    is_redirected: bool = False


@dataclass(frozen=True, slots=True)
class Subset:
    """A named part of a service's endpoints: those with all of `labels` (all of them, if there are none)."""

    name: str
    labels: Labels
    policy: TrafficPolicy | None = None


WHOLE = Subset("", ())
"""All of a service."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Several DestinationRules that count together, merged: the first policy, and the subsets of all."""

    policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()

    def subset(self, name: str) -> Subset | None:
        """The subset of a name."""
        return next((subset for subset in self.subsets if subset.name == name), None)


Ruling = tuple[Key, ...]
"""The DestinationRules that count for a host and a caller, oldest first; mostly none or one."""


def caller(reader: Reader, scope: Scope) -> Caller:
    """What DestinationRules may see of a scope (a unit)."""
    counted = reader.names("rule label")
    return Caller(
        reader.ask(sidecars.viewer, scope),
        tuple((key, value) for key, value in scope.labels if key in counted),
        scope.locality,
        scope.role is Role.SIDECAR and scope.capture is Capture.REDIRECT,
    )


def ruling(reader: Reader, host: str, viewer: Viewer, labels: Labels = ()) -> Ruling:
    """The rules that count for a host and for callers with these labels (a unit)."""
    namespace = viewer.namespace
    service = reader.ask(services.service, host, viewer)
    fitting = [(pattern, item) for pattern, item in _fitting(reader, host) if _counts(reader, item, namespace, labels)]
    for place, private in _places(namespace, service.namespace if service else namespace, mesh.root(reader)):
        found = [
            (pattern, item)
            for pattern, item in fitting
            if item.key.namespace == place and (not private or _exported(reader, item) == {place})
        ]
        best = hosts.most_specific((pattern for pattern, _ in found), host)
        if best is not None:
            return _together(reader, [item for pattern, item in found if pattern == best])
    return ()


def rule(reader: Reader, of: Ruling) -> Rule:
    """What rules say together (a unit). The oldest policy wins whole; a subset's name counts once."""
    items = _documents(reader, of)
    subsets: dict[str, Subset] = {}
    for item in items:
        for subset in item.spec.subsets:
            labels = tuple(sorted(subset.labels.items()))
            subsets.setdefault(subset.name, Subset(subset.name, labels, subset.traffic_policy))
    policy = next((item.spec.traffic_policy for item in items if item.spec.traffic_policy is not None), None)
    return Rule(policy, tuple(subsets.values()))


def _documents(reader: Reader, of: Ruling) -> list[Object]:
    return [item for key in of for item in reader.get(key.kind, (key.namespace, key.name))]


def names_subset(reader: Reader, host: str, subset: str, namespace: str) -> bool:
    """Whether some caller of a namespace has a subset of this name."""
    for selects in {_selector(item) for _, item in _fitting(reader, host) if item.key.namespace == namespace} | {()}:
        if reader.ask(rule, reader.ask(ruling, host, Viewer(namespace), selects)).subset(subset) is not None:
            return True
    return False


def _places(caller: str, service: str, root: str) -> tuple[tuple[str, bool], ...]:
    """Where rules are looked for, in order; the flag says: only those that are for their own namespace alone.

    To callers in the root namespace, what it says for everybody comes last, as it does to everybody.
    """
    return (caller, caller == root), (service, False), (root, False)


def _fitting(reader: Reader, host: str) -> Iterator[tuple[str, Object]]:
    """Every rule whose host contains this one, with its host."""
    for item in reader.get("rule", host):
        if services.resolve(reader, item.spec.host, item.key.namespace) == host:
            yield host, item
    for pattern in reader.names("rule wildcard"):
        if isinstance(pattern, str) and pattern != host and hosts.contains(pattern, host):
            yield from ((pattern, item) for item in reader.get("rule wildcard", pattern))


def _counts(reader: Reader, item: Object, namespace: str, labels: Labels) -> bool:
    """Whether a rule is for callers like this: a rule with a selector is for its own namespace."""
    exported = mesh.exported(reader, item.spec.export_to, "destination_rule")
    if not services.visible(exported, item.key.namespace, namespace):
        return False
    selector = _selector(item)
    return not selector or (item.key.namespace == namespace and set(selector) <= set(labels))


def _selector(item: Object) -> Labels:
    selector = item.spec.workload_selector
    return tuple(sorted(selector.match_labels.items())) if selector is not None else ()


def _exported(reader: Reader, item: Object) -> set[str]:
    """The namespaces that a rule is for, `*` for all."""
    listed = set(mesh.exported(reader, item.spec.export_to, "destination_rule")) or {"*"}
    return {"*"} if "*" in listed else {item.key.namespace if name == "." else name for name in listed}


def older_for_the_same(reader: Reader, item: Object) -> Iterator[Object]:
    """The older rules that are merged with one, for the same host as it is written, namespace and callers."""
    host = services.resolve(reader, item.spec.host, item.key.namespace)
    for other in reader.get("rule", host):
        if (
            other.key.namespace == item.key.namespace
            and other.age < item.age
            and services.resolve(reader, other.spec.host, other.key.namespace) == host
            and _selector(other) == _selector(item)
            and _exported(reader, other) == _exported(reader, item)
        ):
            yield other


def _together(reader: Reader, items: list[Object]) -> Ruling:
    """The first, one with a selector before those without, and those that are for just the same callers."""
    first = min(items, key=lambda item: not _selector(item))
    return tuple(
        item.key
        for item in items
        if _selector(item) == _selector(first) and _exported(reader, item) == _exported(reader, first)
    )


# --- of one cluster -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Which endpoints a cluster has: those with all of `labels`, in the order of `preference`.

    `only_healthy`: the others are not told of. `as_called`: none; connections go where the caller wanted to go.
    """

    labels: Labels = ()
    preference: Preference | None = None
    only_healthy: bool = False
    as_called: bool = False


def written(said: Rule, subset: Subset, port: int) -> Policy:
    """What rules say of a port of a service, or of one of its subsets."""
    if said.policy is None and subset.policy is None:
        return _NOTHING_SAID
    return policies.effective(said.policy, subset.policy, port)


_NOTHING_SAID = Policy()


def policy(reader: Reader, of: ClusterName, by: Ruling, port: services.ServicePort | None = None) -> Policy | None:
    """What counts for a cluster; None if it is of a subset that does not exist. What depends on the port's protocol is
    in it if that is given.
    """
    said = reader.ask(rule, by)
    subset = said.subset(of.subset) if of.subset else WHOLE
    if subset is None:
        return None
    speaks_http1 = port is not None and port.protocol is Protocol.HTTP
    return baseline.under(reader.ask(baseline.of_mesh), written(said, subset, of.port), speaks_http1)


def tells_apart(reader: Reader, by: Ruling) -> bool:
    """Whether rules say of any cluster how requests are told to be alike (a unit)."""
    balancers = (policy.load_balancer for item in _documents(reader, by) for policy in policies.written(item.spec))
    return any(balancer is not None and balancer.consistent_hash is not None for balancer in balancers)


def hashing(reader: Reader, of: ClusterName, by: Ruling) -> ConsistentHashLB | None:
    """How requests to a cluster are told to be alike (a unit); None if that does not matter."""
    counts = policy(reader, of, by)
    return counts.consistent_hash if counts is not None else None


def selection(counts: Policy, labels: Labels, wanted: tuple[str, ...] = ()) -> Selection:
    """The endpoints of a cluster for which a policy counts: those with these labels. `wanted`: what the service asks for."""
    watched, balancer = counts.outlier_detection, counts.load_balancer
    return Selection(
        labels,
        localities.preference(counts, wanted),
        only_healthy=watched is not None and watched.min_health_percent > 0,
        as_called=balancer is not None and balancer.simple == "PASSTHROUGH",
    )
