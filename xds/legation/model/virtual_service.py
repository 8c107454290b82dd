"""VirtualService: which requests go where, and what happens to them on the way.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from legation.model.base import (
    AnyOf,
    Deprecated,
    Excludes,
    Finding,
    Model,
    Raw,
    given,
    inner,
    items,
    number,
    texts,
)
from legation.model.conditions import CLAIMS, GatewayName, HTTPMatchRequest, L4MatchAttributes, TLSMatchAttributes
from legation.model.http_actions import (
    CorsPolicy,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPMirrorPolicy,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
)
from legation.model.traffic import (
    Destination,
    ExportTo,
    Headers,
    Percent,
    Visibility,
)
from legation.model.values import (
    Count,
    Duration,
    Filled,
    Host,
    Label,
    Str,
    Uint32,
    is_ip,
    is_label,
    shown,
)
from legation.names import MESH_GATEWAY
from legation.problems import Path, Severity

# --- where to -----------------------------------------------------------------------------------------------------


def weights(raw: Raw) -> Iterator[Finding]:
    """Of several destinations, one at least must have a weight. They need not sum to 100."""
    routes = items(raw, "route")
    if sum(max(number(item, "weight") or 0, 0) for _, item in routes) >= 2**32:
        said = "the weights sum to more than Envoy can count (4294967295)"
        yield Finding(("route",), said, "make them smaller; only their relation counts", at_key=True)
    if len(routes) > 1 and all(number(item, "weight") in (None, 0) for _, item in routes):
        if any(not isinstance(item.get("weight", 0), int) for _, item in routes):
            return  # a weight that cannot be read has its own finding
        said = "the weights of several destinations sum to 0: nothing can be sent"
        yield Finding(("route",), said, "give each destination a `weight`", at_key=True)


class HTTPRouteDestination(Model):
    """One destination of several, with its share."""

    example = "{destination: {host: reviews}}"

    destination: Destination
    """Where to."""
    weight: Count = 0
    """Its share among the destinations of the rule: relative to the sum of all."""
    headers: Headers | None = None
    """What happens to headers of what goes here."""


class RouteDestination(Model):
    """One destination of several, with its share of connections."""

    example = "{destination: {host: mongo}}"

    destination: Destination
    """Where to."""
    weight: Count = 0
    """Its share among the destinations of the rule: relative to the sum of all."""


class Delegate(Model):
    """Another VirtualService whose rules stand in for this one."""

    example = "{name: other}"

    name: Filled
    """Its name."""
    namespace: Label | None = None
    """Its namespace; this one if left out."""


# --- rules --------------------------------------------------------------------------------------------------------


def _prefix_redirect(raw: Raw) -> Iterator[Finding]:
    if inner(raw, "redirect").get("prefixRewrite"):
        for index, match in items(raw, "match"):
            if given(match, "uri") and not given(inner(match, "uri"), "prefix"):
                said = "`redirect.prefixRewrite` needs a match by prefix"
                yield Finding(("match", index, "uri"), said, "match with `prefix`, or redirect with `uri`", at_key=True)


def _one_authority(raw: Raw) -> Iterator[Finding]:
    if "headers" not in raw:
        return
    found: list[Path] = [("rewrite", "authority")] if inner(raw, "rewrite").get("authority") else []
    for operation in ("set", "add"):
        names = inner(raw, "headers", "request", operation)
        found += (("headers", "request", operation, name) for name in names if name.lower() in ("host", ":authority"))
    for path in found[1:]:
        yield Finding(path, "the host is rewritten twice", "keep one of the places", at_key=True)


MOST_HEADERS: Final = 1000
"""So many headers Envoy adds to a request or a response, and no more."""


def _many_headers(raw: Raw) -> Iterator[Finding]:
    """The headers of an only destination are put to the rule's; of several, each has its own."""
    routes = items(raw, "route")
    for way in ("request", "response"):
        counts: dict[Path, int] = {}
        for where, part in (((), raw), *((("route", index), item) for index, item in routes)):
            place: Path = () if len(routes) == 1 else where
            added = sum(len(inner(part, "headers", way, operation)) for operation in ("set", "add"))
            counts[place] = counts.get(place, 0) + added
        for place, count in counts.items():
            if count > MOST_HEADERS:
                said = f"{count} headers are set or added, and Envoy takes {MOST_HEADERS} at most"
                yield Finding((*place, "headers"), said, "remove some", at_key=True)


def _mirror_share(raw: Raw) -> Iterator[Finding]:
    if not given(raw, "mirror"):
        for field in ("mirrorPercentage", "mirrorPercent"):
            if given(raw, field):
                yield Finding(
                    (field,), f"`{field}` has no effect without `mirror`", "add `mirror`", True, Severity.WARNING
                )


def _own_answers(raw: Raw) -> Iterator[Finding]:
    for action in ("redirect", "directResponse"):
        for field in ("corsPolicy", "mirror", "mirrors", "timeout", "retries"):
            if given(raw, action) and given(raw, field):
                said = f"`{field}` has no effect on answers that the proxy gives by itself (`{action}`)"
                yield Finding((field,), said, "remove it", True, Severity.WARNING)


class HTTPRoute(Model):
    """A rule: requests that one of `match` fits are routed, redirected or answered. The first rule that fits wins."""

    rules = (
        Excludes("redirect", ("route", "directResponse", "rewrite", "fault")),
        Excludes("directResponse", ("route", "rewrite", "fault")),
        Excludes("delegate", ("route", "redirect")),
        Excludes("mirror", ("mirrors",)),
        AnyOf(("route", "redirect", "directResponse"), unless=("delegate",)),
        weights,
        _prefix_redirect,
        _one_authority,
        _many_headers,
        _mirror_share,
        _own_answers,
    )

    name: Str = ""
    """The name of the rule, for logs and statistics."""
    match: tuple[HTTPMatchRequest, ...] = ()
    """Alternatives, one of which must fit; without any, all requests."""
    route: tuple[HTTPRouteDestination, ...] = ()
    """Destinations, each with its share."""
    redirect: HTTPRedirect | None = None
    """Answers with another address instead."""
    direct_response: HTTPDirectResponse | None = None
    """Answers by itself instead."""
    delegate: Delegate | None = None
    """Another VirtualService whose rules stand in for this one."""
    rewrite: HTTPRewrite | None = None
    """Changes path and host before the request is sent on."""
    timeout: Duration | None = None
    """How long a request may take, all tries together; for ever if left out."""
    retries: HTTPRetry | None = None
    """How often a failed request is tried again; twice if left out."""
    fault: HTTPFaultInjection | None = None
    """Faults on purpose."""
    mirror: Destination | None = None
    """Where a copy of requests goes."""
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    """Where copies of requests go."""
    mirror_percent: Annotated[Annotated[Uint32, Field(le=100)] | None, Deprecated("mirrorPercentage")] = None
    """The share of requests that is copied, as a whole number."""
    mirror_percentage: Percent | None = None
    """The share of requests that is copied; all if left out."""
    cors_policy: CorsPolicy | None = None
    """Which pages of other origins may call."""
    headers: Headers | None = None
    """What happens to headers."""


def _named_by_address(raw: Raw) -> Iterator[Finding]:
    for index, match in items(raw, "match"):
        for place, name in texts(match, "sniHosts"):
            if is_ip(name):
                said = f"clients ask for names in a handshake, never for addresses: {shown(name)} fits nobody"
                where = ("match", index, "sniHosts", place)
                yield Finding(where, said, "match with `destinationSubnets`", severity=Severity.WARNING)


class TLSRoute(Model):
    """A rule for TLS that passes through unread."""

    rules = (weights, _named_by_address)

    match: tuple[TLSMatchAttributes, ...] = Field(min_length=1)
    """Alternatives, one of which must fit."""
    route: tuple[RouteDestination, ...] = Field(min_length=1)
    """Destinations, each with its share."""


class TCPRoute(Model):
    """A rule for connections of any protocol."""

    rules = (weights,)

    match: tuple[L4MatchAttributes, ...] = ()
    """Alternatives, one of which must fit; without any, all connections."""
    route: tuple[RouteDestination, ...] = Field(min_length=1)
    """Destinations, each with its share."""


def _mesh(raw: Raw) -> bool:
    return not given(raw, "gateways") or any(name == MESH_GATEWAY for _, name in texts(raw, "gateways"))


def _hosts(raw: Raw) -> Iterator[Finding]:
    hosts = [(index, host.lower()) for index, host in texts(raw, "hosts")]
    for place, (index, host) in enumerate(hosts):
        if host == "*" and _mesh(raw):
            said = 'the host "*" is only for gateways; sidecars tell services apart by name'
            yield Finding(("hosts", index), said, "name the hosts, or bind it to gateways only")
        for _, other in hosts[:place]:
            if overlap(host, other):
                said = (
                    f'"{shown(host)}" and "{shown(other)}" overlap'
                    if host != other
                    else f'"{shown(host)}" is here twice'
                )
                yield Finding(("hosts", index), said, "keep one of them")
                break


def overlap(one: str, other: str) -> bool:
    """Whether some name fits both hosts. A wildcard is a plain ending: `*.com` fits `a.b.com`."""
    if one.startswith("*") and other.startswith("*"):
        return one.endswith(other[1:]) or other.endswith(one[1:])
    if one.startswith("*"):
        return other.endswith(one[1:])
    return one.endswith(other[1:]) if other.startswith("*") else one == other


def _sni(raw: Raw) -> Iterator[Finding]:
    hosts = [host.lower() for _, host in texts(raw, "hosts")]
    for index, route in items(raw, "tls"):
        for place, match in items(route, "match"):
            for position, name in texts(match, "sniHosts"):
                if not any(host == name.lower() or within(name.lower(), host) for host in hosts):
                    where = ("tls", index, "match", place, "sniHosts", position)
                    yield Finding(where, f'"{shown(name)}" is none of `hosts`', "add it to `hosts`, or change it")


def within(name: str, host: str) -> bool:
    """Whether a wildcard host stands for all that a name stands for."""
    return host.startswith("*") and name.removeprefix("*").endswith(host[1:])


def _delegates(raw: Raw) -> Iterator[Finding]:
    """Without hosts it is a delegate: it has HTTP rules and nothing else, and none of them is another's."""
    if given(raw, "hosts"):
        return
    for field in ("gateways", "tls", "tcp"):
        if given(raw, field):
            yield Finding((), "`hosts` is missing", "add `hosts`: the names that clients call", at_key=True)
            return
    for index, route in items(raw, "http"):
        if given(route, "delegate"):
            said = "a delegate (a VirtualService without `hosts`) has no delegates of its own"
            yield Finding(("http", index, "delegate"), said, "name it where this one is named", at_key=True)


def _claims_in_mesh(raw: Raw) -> Iterator[Finding]:
    if not given(raw, "hosts") or not _mesh(raw):
        return
    for index, route in items(raw, "http"):
        for place, match in items(route, "match"):
            for field in ("headers", "withoutHeaders"):
                for name in inner(match, field):
                    if name.startswith(CLAIMS):
                        where = ("http", index, "match", place, field, name)
                        said = "a token's claims can only be matched at gateways"
                        yield Finding(where, said, "bind it to gateways only, without `mesh`", at_key=True)


def _old_gateway_names(raw: Raw) -> Iterator[Finding]:
    for index, name in texts(raw, "gateways"):
        if "." in name and "/" not in name:
            first, second = name.split(".")[:2]
            hint = f"write {second}/{first}" if is_label(first) and is_label(second) else "write namespace/name"
            said = f'"{shown(name)}" is the old way to name a gateway'
            yield Finding(("gateways", index), said, hint, severity=Severity.WARNING)


class VirtualService(Model):
    """Which requests go where, and what happens to them on the way."""

    rules = (AnyOf(("http", "tcp", "tls")), _hosts, _sni, _delegates, _claims_in_mesh, _old_gateway_names, Visibility())

    hosts: tuple[Host, ...] = ()
    """The names that clients call."""
    gateways: tuple[GatewayName, ...] = ()
    """The gateways that it is bound to; if left out, `mesh`: all sidecars."""
    http: tuple[HTTPRoute, ...] = ()
    """Rules for HTTP and gRPC, in order."""
    tls: tuple[TLSRoute, ...] = ()
    """Rules for TLS that passes through unread, in order."""
    tcp: tuple[TCPRoute, ...] = ()
    """Rules for other protocols, in order."""
    export_to: ExportTo = ()
    """The namespaces that see it: `*` all (if left out), `.` its own, or names."""

    @property
    def bound_to(self) -> tuple[str, ...]:
        """The gateways that it is bound to, as they are written; `mesh` where none is."""
        return self.gateways or (MESH_GATEWAY,)
