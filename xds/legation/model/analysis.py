"""What documents say about each other: references that lead nowhere, rules that are never reached.

The codes are those of `istioctl analyze`; see docs/problems.md. Every check is a unit, so a change of one document costs
the checks that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from legation import names
from legation.model import (
    attachments,
    conflicts,
    delegation,
    gateway_analysis,
    hosts,
    index,
    policies,
    rules,
    services,
    shadows,
)  # fmt: skip
from legation.model.findings import Finding, Reference
from legation.model.meta import Key, Object
from legation.model.recall import Each, Reader
from legation.model.sidecars import Viewer
from legation.names import MESH_GATEWAY
from legation.problems import Path, Severity


def everything(reader: Reader) -> Each[tuple[Finding, ...]]:
    """The findings of every document that has any to make (a unit)."""
    return reader.each(findings, (), _checked)


def _checked(reader: Reader) -> frozenset[Key]:
    kinds = ("VirtualService", "DestinationRule", "ServiceEntry", "Gateway", "MeshConfig", "Sidecar")
    return frozenset(Key(kind, *name) for kind in kinds for name in reader.names(kind))  # type: ignore[misc]


def findings(reader: Reader, key: Key) -> tuple[Finding, ...]:
    """Everything that is to be said about a document in the light of the others (a unit)."""
    found = reader.get(key.kind, (key.namespace, key.name))
    if not found:
        return ()
    item = found[0]
    checks = (_dangling, _unreachable, attachments.of, conflicts.of)
    return tuple(finding for check in checks for finding in check(reader, item))


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
            case "delegate", _:
                resolved = delegation.found(reader, item, item.spec.http[reference.path[2]]) is not None
            case "secret", either:
                resolved = any(reader.get("secret", name) for name in either)
            case _:
                raise AssertionError(reference)
        if not resolved:
            yield reference


def _references(reader: Reader, item: Object) -> Iterator[Reference]:
    if item.key.kind == "DestinationRule":
        host = services.resolve(reader, item.spec.host, item.key.namespace)
        if not hosts.is_wildcard(host):
            yield Reference("host", (host,), ("spec", "host"))
        yield from credentials(item)
    if item.key.kind == "Gateway":
        yield from gateway_analysis.credentials(item)
    if item.key.kind != "VirtualService":
        return
    for place, written in enumerate(item.spec.gateways or ()):
        name = index.gateway_reference(written, item.key.namespace)
        if name != MESH_GATEWAY:
            yield Reference("gateway", (name,), ("spec", "gateways", place))
    for number, rule in enumerate(item.spec.http or ()):
        path = ("spec", "http", number)
        for place, route in enumerate(rule.route or ()):
            yield from _destination(reader, item, route.destination, (*path, "route", place, "destination"))
        if rule.mirror is not None:
            yield from _destination(reader, item, rule.mirror, (*path, "mirror"))
        for place, mirror in enumerate(rule.mirrors):
            yield from _destination(reader, item, mirror.destination, (*path, "mirrors", place, "destination"))
        if rule.delegate is not None:
            name = f"{rule.delegate.namespace or item.key.namespace}/{rule.delegate.name}"
            yield Reference("delegate", (name,), (*path, "delegate"))
    for field, listed in (("tls", item.spec.tls), ("tcp", item.spec.tcp)):
        for number, rule in enumerate(listed):
            for place, route in enumerate(rule.route):
                at: Path = ("spec", field, number, "route", place, "destination")
                yield from _destination(reader, item, route.destination, at)


def credentials(item: Object) -> Iterator[Reference]:
    """The Secrets that a DestinationRule names; which namespace is meant depends on the caller."""
    for path, tls in policies.encrypted(item.spec):
        if tls.credential_name and tls.mode in ("SIMPLE", "MUTUAL"):
            parts = names.parse_secret(names.credential(tls.credential_name))
            if parts is not None and not parts.config_map:
                either = (parts.name, parts.name + names.AUTHORITIES)
                yield Reference("secret", either, ("spec", *path, "credentialName"))


def _destination(reader: Reader, item: Object, destination: Any, path: Path) -> Iterator[Reference]:
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
        unknown_rule_host = item.key.kind == "DestinationRule" and reference.what == "host"
        code = "IST0174" if unknown_rule_host else "IST0101"
        yield Finding(item.key, reference.path, Severity.WARNING, code, said, hint)


def _words(reader: Reader, item: Object, reference: Reference) -> tuple[str, str]:
    match reference.what, reference.names:
        case "host", (host,):
            what = "the rule applies to nothing" if item.key.kind == "DestinationRule" else _loss(reference)
            near = hosts.closest(host, (str(name) for name in reader.names(hosts.SERVICE)))
            hint = f"did you mean {near}?" if near else "add a Service or a ServiceEntry for it"
            return f"no service has the host {host}; {what}", hint
        case "subset", (host, subset):
            rule = reader.ask(rules.rule, reader.ask(rules.ruling, host, Viewer(item.key.namespace)))
            known = ", ".join(known.name for known in rule.subsets)
            hint = f"its subsets are: {known}" if known else f"write a DestinationRule for {host} with that subset"
            return f"{host} has no subset {subset}; {_loss(reference)}", hint
        case "delegate", (name,):
            near = hosts.closest(name, ("/".join(map(str, known)) for known in reader.names(index.DELEGATE)))  # type: ignore[call-overload]
            hint = (
                f"did you mean {near}?"
                if near and near != name
                else "it has no `hosts`, and `exportTo` lets it be seen"
            )
            return f"there is no VirtualService {name} to delegate to; this rule is left out", hint
        case "secret", (name, *_):
            near = hosts.closest(name, (str(known) for known in reader.names("secret")))
            lost = "every handshake with this server is refused"
            if item.key.kind == "DestinationRule":
                lost = "requests are answered 503"
            said = f"there is no Secret {name}; {lost}"
            hint = (
                f"did you mean {near}?"
                if near
                else f"add it, or a folder secrets/<namespace>/{name} with tls.crt and .key"
            )
            return said, hint
        case _, (name,):
            near = hosts.closest(name, ("/".join(map(str, known)) for known in reader.names("Gateway")))  # type: ignore[call-overload]
            return f"there is no Gateway {name}; the rule is not served there", f"did you mean {near}?" if near else ""
        case _:
            raise AssertionError(reference)


def _loss(reference: Reference) -> str:
    if reference.path[1] in ("tls", "tcp"):
        return "connections are closed"
    is_copy = reference.path[3] in ("mirror", "mirrors")
    return "the copies go nowhere" if is_copy else "requests are answered 503"


def _unreachable(reader: Reader, item: Object) -> Iterator[Finding]:
    """Rules and matches that no request gets to."""
    if item.key.kind != "VirtualService":
        return
    for shadow in shadows.shadows(item.spec):
        yield Finding(item.key, shadow.path, Severity.WARNING, shadow.code, shadow.message, shadow.hint)
    for number, rule in enumerate(item.spec.http):
        if (delegate := delegation.found(reader, item, rule)) is None:
            continue
        out = [
            place for place, served in enumerate(reader.ask(delegation.filled_in, item.key, number)) if served is None
        ]
        if out:
            which = ", ".join(f"http[{place}]" for place in out)
            said = f"{which} of {delegate.key} would never be reached here: a match agrees with none of this rule's"
            hint = "a delegate's matches may only narrow those of the rule that names it"
            path = ("spec", "http", number, "delegate")
            yield Finding(item.key, path, Severity.WARNING, shadows.UNREACHABLE, said, hint)
