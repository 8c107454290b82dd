"""What DestinationRules say of a host, as seen by a client.

Source: Istio's DestinationRule reference; the order of lookup is istiod's: the client's namespace, the service's, the
root's; the first that has any rule for the host decides alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from legation.model import hosts, services
from legation.model.meta import Key, Object
from legation.model.recall import Reader


@dataclass(frozen=True, slots=True)
class Subset:
    """A named part of a service's endpoints: those with all of `labels` (all of them, if there are none)."""

    name: str
    labels: tuple[tuple[str, str], ...]
    policy: Any = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The rules for one host that count for one client, merged: the first policy, and the subsets of all."""

    policy: Any
    subsets: tuple[Subset, ...]
    origins: tuple[Key, ...]

    def subset(self, name: str) -> Subset | None:
        """The subset of a name."""
        return next((subset for subset in self.subsets if subset.name == name), None)


def rule(reader: Reader, host: str, client: str) -> Rule | None:
    """What counts for a host and a client's namespace (a unit); None if nobody says anything."""
    service = reader.ask(services.service, host, client)
    fitting = list(_fitting(reader, host))
    for namespace in dict.fromkeys((client, service.namespace if service else client, reader.mesh.root)):
        found = [
            (pattern, item) for pattern, item in fitting if item.key.namespace == namespace and _counts(item, client)
        ]
        best = hosts.most_specific((pattern for pattern, _ in found), host)
        if best is not None:
            return _merged([item for pattern, item in found if pattern == best])
    return None


def _fitting(reader: Reader, host: str) -> Iterator[tuple[str, Object]]:
    """Every rule whose host contains this one, with its host."""
    for item in reader.get("rule", host):
        if services.resolve(reader, item.spec.host, item.key.namespace) == host:
            yield host, item
    for pattern in reader.names("rule wildcard"):
        if isinstance(pattern, str) and pattern != host and hosts.contains(pattern, host):
            yield from ((pattern, item) for item in reader.get("rule wildcard", pattern))


def _counts(item: Object, client: str) -> bool:
    return services.visible(item.spec.export_to or (), item.key.namespace, client)


def _merged(items: list[Object]) -> Rule:
    """Oldest first: the first policy wins whole, a subset's name counts once."""
    subsets: dict[str, Subset] = {}
    for item in items:
        for subset in item.spec.subsets or ():
            labels = tuple(sorted((subset.labels or {}).items()))
            subsets.setdefault(subset.name, Subset(subset.name, labels, subset.traffic_policy))
    policy = next((item.spec.traffic_policy for item in items if item.spec.traffic_policy is not None), None)
    return Rule(policy, tuple(subsets.values()), tuple(item.key for item in items))
