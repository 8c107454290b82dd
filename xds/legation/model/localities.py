"""Which endpoints a proxy prefers, by where they and it run, or by labels that they share.

Source: Istio's LocalityLoadBalancerSetting; the arithmetic is istiod's (`pilot/pkg/networking/core/loadbalancer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from legation.model.endpoints import Endpoint
from legation.model.policies import Policy
from legation.model.proxy import Labels, Locality, topology

NETWORK = "topology.istio.io/network"


@dataclass(frozen=True, slots=True)
class Preference:
    """What a cluster's settings make of where the proxy runs.

    `spread` are the shares by locality, first match first; `regions` which region takes over from which; `priority` the
    labels in order, `key` or `key=value`. `by_place` says that nearness counts, `regions_only` that zones do not.
    """

    spread: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    regions: tuple[tuple[str, str], ...] = ()
    priority: tuple[str, ...] = ()
    by_place: bool = True
    regions_only: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The labels of the proxy that count."""
        return tuple(entry for entry in self.priority if "=" not in entry)

    @property
    def weighted(self) -> bool:
        """Whether localities have shares by their weights, rather than endpoints by theirs."""
        return bool(self.spread or ((self.regions or self.priority) and not self.regions_only))


@dataclass(frozen=True, slots=True)
class Standpoint:
    """As much of a proxy as a Preference asks for."""

    locality: Locality = Locality()
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints of one locality that are preferred alike: those of a higher number are used when lower ones fail."""

    locality: Locality
    priority: int
    weight: int
    endpoints: tuple[Endpoint, ...]


def is_settled(policy: Policy) -> bool:
    """Whether a policy says anything of localities."""
    balancer = policy.load_balancer
    return balancer is not None and not (
        balancer.locality_lb_setting is None and balancer.zone_aware_lb_setting is None
    )


def preference(policy: Policy, wanted: tuple[str, ...] = ()) -> Preference | None:
    """What a policy says; None if it does not matter where the proxy runs.

    `outlierDetection` alone is enough: only with it does Envoy know what has failed, so Istio then prefers what is near.
    `wanted` is what the service asks for, where no rule settles it: labels in order, whether failures are watched or not.
    """
    if wanted:
        return Preference(priority=wanted, by_place=False)
    balancer = policy.load_balancer
    by_zone = balancer.zone_aware_lb_setting if balancer is not None else None
    by_locality = balancer.locality_lb_setting if balancer is not None else None
    chosen = by_zone if by_zone is not None else by_locality
    if chosen is not None and chosen.enabled is False:
        return None
    if by_locality is not None and by_zone is None and by_locality.distribute:
        spread = tuple((entry.from_, tuple(sorted(entry.to.items()))) for entry in by_locality.distribute)
        return Preference(spread=spread)
    if policy.outlier_detection is None:
        return None
    regions = tuple((entry.from_, entry.to) for entry in chosen.failover) if chosen is not None else ()
    priority = tuple(chosen.failover_priority) if chosen is not None else ()
    return Preference((), regions, priority, by_place=bool(regions or not priority), regions_only=by_zone is not None)


def standpoint(of: Preference | None, locality: Locality, labels: Mapping[str, str]) -> Standpoint | None:
    """The part of a proxy that a preference depends on; None for no preference."""
    if of is None:
        return None
    mine = {**labels, **topology(locality)}
    counted = tuple(sorted((key, mine[key]) for key in set(of.keys) if key in mine))
    return Standpoint(locality if of.spread or of.by_place else Locality(), counted)


def arranged(endpoints: Iterable[Endpoint], of: Preference | None, seen_from: Standpoint | None) -> tuple[Group, ...]:
    """Endpoints, which come sorted by locality, in the groups that Envoy is told of."""
    alike = [(place, tuple(members)) for place, members in groupby(endpoints, key=lambda each: each.locality)]
    if of is None or seen_from is None:
        return tuple(Group(place, 0, _weight(members), members) for place, members in alike)
    groups = [Group(place, 0, 0, members) for place, members in alike]
    if of.spread:
        return _spread(_weighed(groups), of.spread, seen_from.locality)
    if of.priority:
        labels = dict(seen_from.labels)
        groups = [part for group in groups for part in _by_labels(group, of.priority, labels)]
    if of.by_place:
        distance, steps = (_by_region, 3) if of.regions_only else (_by_place, 5)
        groups = [
            replace(group, priority=group.priority * steps + distance(group.locality, seen_from.locality, of.regions))
            for group in groups
        ]
    found = sorted({group.priority for group in groups})  # without gaps: istiod closes them, too
    return _weighed(replace(group, priority=found.index(group.priority)) for group in groups)


def _weighed(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(replace(group, weight=_weight(group.endpoints)) for group in groups)


def _weight(endpoints: Iterable[Endpoint]) -> int:
    return min(sum(each.weight for each in endpoints), 2**32 - 1)


def _spread(
    groups: tuple[Group, ...], spread: Iterable[tuple[str, tuple[tuple[str, int], ...]]], here: Locality
) -> tuple[Group, ...]:
    """Shares for the localities that are named, nothing for the others. Where no entry is for here, nothing changes."""
    shares = next((shares for origin, shares in spread if within(here, origin)), None)
    if shares is None:
        return groups
    left, found = list(groups), list[Group]()
    for place, share in sorted(shares, key=lambda entry: (-len(entry[0].rstrip("*")), entry[0])):
        fitting = [group for group in left if within(group.locality, place)]
        total = sum(group.weight for group in fitting)
        found += [replace(group, weight=-(-group.weight * share // total)) for group in fitting]
        left = [group for group in left if group not in fitting]
    return tuple(sorted(found, key=lambda group: str(group.locality)))


def within(locality: Locality, place: str) -> bool:
    """Whether a locality is in a place: `region/zone/subzone`, where `*` and what is left out fit anything."""
    wanted = Locality.parse(place)
    if wanted.region not in ("*", locality.region):
        return False
    return wanted.zone in ("", "*", locality.zone) and wanted.subzone in ("", "*", locality.subzone)


def _by_labels(group: Group, priority: tuple[str, ...], mine: Mapping[str, str]) -> list[Group]:
    """A locality's endpoints, apart by how many of the first labels they share with the proxy."""
    parts: dict[int, list[Endpoint]] = {}
    for endpoint in group.endpoints:
        theirs = endpoint.all_labels
        number = 0
        for place, entry in enumerate(priority):
            key, sign, value = entry.partition("=")
            if (value if sign else mine.get(key, "")) == theirs.get(key, ""):
                continue
            number += len(priority) - place
            if not (place == 0 and key == NETWORK):  # another network is worse than any other difference
                break
        parts.setdefault(number, []).append(endpoint)
    return [replace(group, priority=number, endpoints=tuple(parts[number])) for number in sorted(parts)]


_Distance = Callable[[Locality, Locality, tuple[tuple[str, str], ...]], int]


def _by_place(theirs: Locality, mine: Locality, regions: tuple[tuple[str, str], ...]) -> int:
    """0 in the same subzone, 1 in the zone, 2 in the region, 3 elsewhere; 4 where another region takes over."""
    if theirs.region != mine.region:
        return 3 + _passed_over(theirs, mine, regions)
    if theirs.zone != mine.zone:
        return 2
    return 0 if theirs.subzone == mine.subzone else 1


def _by_region(theirs: Locality, mine: Locality, regions: tuple[tuple[str, str], ...]) -> int:
    """0 in the same region, 1 elsewhere; 2 where another region takes over."""
    return 0 if theirs.region == mine.region else 1 + _passed_over(theirs, mine, regions)


def _passed_over(theirs: Locality, mine: Locality, regions: tuple[tuple[str, str], ...]) -> bool:
    successor = next((to for of, to in regions if of == mine.region), theirs.region)
    return successor != theirs.region
