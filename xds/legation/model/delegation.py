"""Rules of a VirtualService that other VirtualServices fill in: the delegates, which have no hosts of their own.

Source: Istio's VirtualService reference (`delegate`); the order and the conflicts are istiod's. A rule with a delegate is
replaced, where it stands, by the delegate's rules, each narrowed by the matches of the rule. One level, no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from legation.model import index, services
from legation.model.base import FrozenMap
from legation.model.conditions import HTTPMatchRequest
from legation.model.meta import Key, Object
from legation.model.recall import Reader
from legation.model.traffic import Destination, StringMatch
from legation.model.virtual_service import HTTPRoute


@dataclass(frozen=True, slots=True)
class Served:
    """A rule as it is served, and the document in whose namespace its short names are understood."""

    rule: HTTPRoute
    source: Key


def rules(reader: Reader, root: Object) -> Iterator[Served]:
    """The rules of a VirtualService in order, those of its delegates in their places."""
    for number, rule in enumerate(root.spec.http):
        if rule.delegate is None:
            yield Served(rule, root.key)
        else:
            yield from (served for served in reader.ask(filled_in, root.key, number) if served is not None)


def filled_in(reader: Reader, root: Key, number: int) -> tuple[Served | None, ...]:
    """What stands in place of a rule (a unit): every rule of its delegate, or None for one that contradicts it. Nothing
    if there is no such rule, or none any longer.
    """
    items = reader.get(root.kind, (root.namespace, root.name))
    rule = items[0].spec.http[number] if items and number < len(items[0].spec.http) else None
    delegate = found(reader, items[0], rule) if rule is not None else None
    if rule is None or delegate is None:
        return ()
    qualified = _qualified(reader, rule, root.namespace)
    return tuple(_merged(reader, qualified, theirs, delegate.key) for theirs in delegate.spec.http)


def found(reader: Reader, root: Object, rule: HTTPRoute) -> Object | None:
    """The delegate of a rule, if there is one that the root's namespace sees."""
    if rule.delegate is None:
        return None
    namespace = rule.delegate.namespace or root.key.namespace
    seen = (
        item
        for item in reader.get(index.DELEGATE, (namespace, rule.delegate.name))
        if services.visible(item.spec.export_to, namespace, root.key.namespace)
    )
    return next(seen, None)


def delegates(reader: Reader, root: Object) -> tuple[Key, ...]:
    """The delegates that a VirtualService uses."""
    every = (found(reader, root, rule) for rule in root.spec.http)
    return tuple(dict.fromkeys(item.key for item in every if item is not None))


# --- two rules as one ---------------------------------------------------------------------------------------------

_INHERITED = (
    "direct_response", "rewrite", "timeout", "retries", "fault", "mirror", "mirrors", "mirror_percent",
    "mirror_percentage", "cors_policy", "headers",
)  # fmt: skip
"""What the delegate's rule has from the root's where it says nothing itself: each whole, nothing is mixed."""


def _qualified(reader: Reader, rule: HTTPRoute, namespace: str) -> HTTPRoute:
    """A rule with names that mean the same in every namespace."""

    def destination(written: Destination) -> Destination:
        return written.model_copy(update={"host": services.resolve(reader, written.host, namespace)})

    return rule.model_copy(
        update={
            "match": tuple(_with_gateways(match, namespace) for match in rule.match),
            "mirror": destination(rule.mirror) if rule.mirror is not None else None,
            "mirrors": tuple(
                mirror.model_copy(update={"destination": destination(mirror.destination)}) for mirror in rule.mirrors
            ),
        }
    )


def _with_gateways(match: HTTPMatchRequest, namespace: str) -> HTTPMatchRequest:
    named = tuple(index.gateway_reference(name, namespace) for name in match.gateways)
    return match.model_copy(update={"gateways": named})


def _merged(reader: Reader, root: HTTPRoute, leaf: HTTPRoute, source: Key) -> Served | None:
    theirs = tuple(_with_gateways(match, source.namespace) for match in leaf.match)
    matches = _matches(root.match, theirs)
    if matches is None or leaf.delegate is not None:
        return None
    inherited = {name: getattr(root, name) for name in _INHERITED if getattr(leaf, name) in (None, ())}
    update = {"name": _named(root.name, leaf.name), "match": matches, **inherited}
    return Served(leaf.model_copy(update=update), source)


def _named(root: str, leaf: str) -> str:
    return "-".join(name for name in (root, leaf) if name)


def _matches(
    root: tuple[HTTPMatchRequest, ...], leaf: tuple[HTTPMatchRequest, ...]
) -> tuple[HTTPMatchRequest, ...] | None:
    """Each of the leaf's matches with each of the root's that it agrees with; None if one of them has none."""
    if not root or not leaf:
        return root or leaf
    merged: list[HTTPMatchRequest] = []
    for theirs in leaf:
        agreeing = [_match(ours, theirs) for ours in root if _agree(ours, theirs)]
        if not agreeing:
            return None
        merged += agreeing
    return tuple(merged)


_SINGLE = ("uri", "scheme", "method", "authority")
_MAPS = ("headers", "without_headers", "query_params")


def _match(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> HTTPMatchRequest:
    """Both at once. What both say of one thing is the leaf's, which is the narrower one."""
    fields = (*_SINGLE, "port", "source_namespace", "gateways", "stat_prefix")
    update = {name: getattr(leaf, name) or getattr(root, name) for name in fields}
    for name in (*_MAPS, "source_labels"):
        update[name] = FrozenMap({**getattr(root, name), **getattr(leaf, name)})
    return leaf.model_copy(update={"name": _named(root.name, leaf.name), **update})


def _agree(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> bool:
    """Whether the leaf's match asks for nothing but what the root's lets it have."""
    if not all(_narrows(getattr(root, name), getattr(leaf, name)) for name in _SINGLE):
        return False
    for name in _MAPS:
        ours: Mapping[str, StringMatch | None] = getattr(root, name)
        theirs: Mapping[str, StringMatch | None] = getattr(leaf, name)
        if not all(_narrows(ours.get(key), wanted) for key, wanted in theirs.items()):
            return False
    return (
        root.ignore_uri_case == leaf.ignore_uri_case
        and not (root.port and leaf.port and root.port != leaf.port)
        and root.source_namespace in (None, leaf.source_namespace)
        and all(root.source_labels.get(key, value) == value for key, value in leaf.source_labels.items())
        and (not root.gateways or set(leaf.gateways) <= set(root.gateways))
    )


def _narrows(root: StringMatch | None, leaf: StringMatch | None) -> bool:
    """Whether a text that fits the leaf fits the root too, as far as that can be told: of two expressions it cannot."""
    if root is None or leaf is None:
        return True
    if root.exact:
        return leaf.exact == root.exact
    if root.prefix:
        return (leaf.exact or leaf.prefix or "").startswith(root.prefix)
    return False
