"""What the real Envoy says of what its proxies would be served, and which documents it means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from legation import pipeline
from legation.ingest.admission import Admission
from legation.local import static
from legation.local.verdict import verdict
from legation.model import index, instances
from legation.model.findings import Finding
from legation.model.meta import Key
from legation.model.proxy import Capture, Proxy, Role, Scope, labels
from legation.model.recall import Recall
from legation.model.world import World
from legation.problems import Problem, Severity
from legation.render import resources
from legation.snapshot.snapshot import Snapshot

REFUSED = "LEG0601"


def problems(admitted: Admission) -> list[Problem]:
    """What Envoy refuses, as Problems of the documents without which it would take the rest. Raises EnvoyMissing."""
    world = admitted.world
    recall = Recall(world)
    asked = {scope: _rendered(recall, scope) for scope in scopes(world)}
    if not verdict(static.together(static.bootstrap(snapshot) for snapshot in asked.values())):
        return []
    found: dict[Problem, None] = {}
    for scope, snapshot in asked.items():
        if words := verdict(static.bootstrap(snapshot)):
            found.update(dict.fromkeys(_traced(admitted, scope, snapshot, words)))
    return list(found)


def scopes(world: World) -> list[Scope]:
    """Who may ask: a gateway for every selector in use; in every namespace, and for every Sidecar's selector, a sidecar
    whose traffic is redirected and one whose is not.
    """
    looked_at = instances.asked(world)
    gateways = {
        (item.key.namespace, labels(item.spec.selector or {}))
        for item in world.objects.values()
        if item.key.kind == "Gateway"
    }
    beside = {(namespace, labels({})) for namespace in {key.namespace for key in world.objects} - {""}}
    beside |= {
        (item.key.namespace, labels(index.sidecar_labels(item)))
        for item in world.objects.values()
        if item.key.kind == "Sidecar"
    }
    asking = [(Role.GATEWAY, Capture.NONE, *which) for which in sorted(gateways)]
    asking += [(Role.SIDECAR, capture, *which) for which in sorted(beside) for capture in Capture]
    proxies = (
        Proxy("validate", role, namespace, "validate", labels=own, capture=capture)
        for role, capture, namespace, own in asking
    )
    return [instances.scope(world, proxy, looked_at) for proxy in proxies]


def _rendered(recall: Recall, scope: Scope) -> Snapshot:
    rendered, _ = resources.render(recall, scope, resources.Rendered(Snapshot()), revision="")
    return rendered.snapshot


def _traced(admitted: Admission, scope: Scope, snapshot: Snapshot, words: str) -> Iterator[Problem]:
    origins = {key for table in snapshot.resources.values() for found in table.values() for key in found.origins}
    who = f"a {scope.role} in namespace {scope.namespace}"

    def refused(without: Collection[Key]) -> str:
        world, _ = admitted.world.apply((), without)
        return verdict(static.bootstrap(_rendered(Recall(world), scope)))

    everyone = sorted(origins)
    guilty = culprits(everyone, refused) if everyone and not refused(everyone) else []
    if not guilty:
        yield Problem(Severity.ERROR, REFUSED, f"Envoy refuses what {who} would be served: {words}")
    for key in guilty:
        said = refused([other for other in guilty if other != key]) or words
        told = f"Envoy refuses what {who} would be served: {said}"
        yield pipeline.placed(Finding(key, (), Severity.ERROR, REFUSED, told), admitted)


def culprits(suspects: Sequence[Key], refused: Callable[[Collection[Key]], str], gone: Sequence[Key] = ()) -> list[Key]:
    """The fewest of the suspects that have to go until nothing is refused, found by halves: some 2 · log n questions
    for each. Nothing is refused once all of them, and `gone`, have gone.
    """
    if not refused(gone):
        return []
    if len(suspects) == 1:
        return list(suspects)
    first, second = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
    found = culprits(first, refused, [*gone, *second])
    return found + culprits(second, refused, [*gone, *found])
