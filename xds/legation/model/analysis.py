"""What documents say about each other: references that lead nowhere, rules that are never reached.

The codes are those of `istioctl analyze`; see docs/problems.md. Every check is a unit, so a change of one document costs
the checks that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from legation.model import hosts, index, rules, services
from legation.model.meta import Key, Object
from legation.model.recall import Each, Reader
from legation.names import MESH_GATEWAY
from legation.problems import Path, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """A Problem that does not know its line yet: where in which document, and what."""

    key: Key
    path: Path
    severity: Severity
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that a document names and another has to define: `what` is host, subset or gateway."""

    what: str
    names: tuple[str, ...]
    path: Path

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """What is named, wherever it is written."""
        return self.what, self.names


def everything(reader: Reader) -> Each[tuple[Finding, ...]]:
    """The findings of every document that has any to make (a unit)."""
    return reader.each(findings, (), _checked)


def _checked(reader: Reader) -> frozenset[Key]:
    kinds = ("VirtualService", "DestinationRule")
    return frozenset(Key(kind, *name) for kind in kinds for name in reader.names(kind))  # type: ignore[misc]


def findings(reader: Reader, key: Key) -> tuple[Finding, ...]:
    """Everything that is to be said about a document in the light of the others (a unit)."""
    found = reader.get(key.kind, (key.namespace, key.name))
    if not found:
        return ()
    return tuple(_dangling(reader, found[0])) + tuple(_unreachable(found[0]))


def dangling(reader: Reader, item: Object) -> Iterator[Reference]:
    """The references of a document that nothing resolves."""
    for reference in _references(reader, item):
        match reference.what, reference.names:
            case "host", (host,):
                resolved = services.known(reader, host) or _matches_wildcard(reader, host)
            case "subset", (host, subset):
                resolved = rules.names_subset(reader, host, subset, item.key.namespace)
            case "gateway", (name,):
                resolved = bool(reader.get("Gateway", tuple(name.split("/"))))
            case _:
                raise AssertionError(reference)
        if not resolved:
            yield reference


def _references(reader: Reader, item: Object) -> Iterator[Reference]:
    if item.key.kind == "DestinationRule":
        host = services.resolve(reader, item.spec.host, item.key.namespace)
        if not hosts.is_wildcard(host):
            yield Reference("host", (host,), ("spec", "host"))
    if item.key.kind != "VirtualService":
        return
    for place, written in enumerate(item.spec.gateways or ()):
        name = index.gateway_reference(written, item.key.namespace)
        if name != MESH_GATEWAY:
            yield Reference("gateway", (name,), ("spec", "gateways", place))
    for number, rule in enumerate(item.spec.http or ()):
        for place, route in enumerate(rule.route or ()):
            yield from _destination(reader, item, route.destination, ("spec", "http", number, "route", place))


def _destination(reader: Reader, item: Object, destination: Any, path: Path) -> Iterator[Reference]:
    path = (*path, "destination")
    host = services.resolve(reader, destination.host, item.key.namespace)
    yield Reference("host", (host,), (*path, "host"))
    if destination.subset and services.known(reader, host):
        yield Reference("subset", (host, destination.subset), (*path, "subset"))


def _matches_wildcard(reader: Reader, host: str) -> bool:
    wild = (name for name in reader.names(hosts.SERVICE) if isinstance(name, str) and hosts.is_wildcard(name))
    return any(hosts.contains(pattern, host) for pattern in wild)


def _dangling(reader: Reader, item: Object) -> Iterator[Finding]:
    for reference in dangling(reader, item):
        said, hint = _words(reader, item, reference)
        unknown_rule_host = item.key.kind == "DestinationRule"
        code = "IST0174" if unknown_rule_host else "IST0101"
        yield Finding(item.key, reference.path, Severity.WARNING, code, said, hint)


def _words(reader: Reader, item: Object, reference: Reference) -> tuple[str, str]:
    match reference.what, reference.names:
        case "host", (host,):
            what = "the rule applies to nothing" if item.key.kind == "DestinationRule" else "requests are answered 503"
            near = hosts.closest(host, (str(name) for name in reader.names(hosts.SERVICE)))
            hint = f"did you mean {near}?" if near else "add a Service or a ServiceEntry for it"
            return f"no service has the host {host}; {what}", hint
        case "subset", (host, subset):
            rule = reader.ask(rules.rule, reader.ask(rules.ruling, host, item.key.namespace))
            known = ", ".join(known.name for known in rule.subsets)
            hint = f"its subsets are: {known}" if known else f"write a DestinationRule for {host} with that subset"
            return f"{host} has no subset {subset}; requests are answered 503", hint
        case _, (name,):
            near = hosts.closest(name, ("/".join(map(str, known)) for known in reader.names("Gateway")))  # type: ignore[call-overload]
            return f"there is no Gateway {name}; the rule is not served there", f"did you mean {near}?" if near else ""
        case _:
            raise AssertionError(reference)


def _unreachable(item: Object) -> Iterator[Finding]:
    """Rules after one that takes every request."""
    if item.key.kind != "VirtualService":
        return
    taken: int | None = None
    for number, rule in enumerate(item.spec.http or ()):
        if taken is not None:
            said = f"this rule is never reached: http[{taken}] takes every request"
            hint = f"put http[{taken}] last, or say in a `match` what it is for"
            yield Finding(item.key, ("spec", "http", number), Severity.WARNING, "IST0130", said, hint)
        elif not rule.match or any(_fits_everything(match) for match in rule.match):
            taken = number


def _fits_everything(match: Any) -> bool:
    """Whether a match holds for every request, wherever it is called: it asks for nothing but any path."""
    uri = match.uri
    if uri is not None and (
        uri.exact is not None or uri.prefix not in (None, "", "/") or uri.regex not in (None, ".*")
    ):
        return False
    asked = (
        match.scheme, match.method, match.authority, match.headers, match.without_headers, match.query_params,
        match.port, match.source_labels, match.source_namespace, match.gateways,
    )  # fmt: skip
    return not any(asked)
