"""How a DestinationRule chooses the endpoint of a request.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import (
    Deprecated,
    Finding,
    Model,
    NotYet,
    OneOf,
    Raw,
    Unique,
    given,
    inner,
    items,
    quoted,
    texts,
)
from legation.model.proxy import TOPOLOGY
from legation.model.traffic import is_header
from legation.model.values import (
    Bool,
    Duration,
    DurationOrZero,
    Filled,
    Float,
    Line,
    Map,
    Uint32,
    Uint64,
    is_label_key,
    is_label_value,
    shown,
    wrong,
)
from legation.problems import Severity


class RingHash(Model):
    """Consistent hashing on a ring."""

    minimum_ring_size: Annotated[Uint64, Field(le=8388608)] = 0
    """The least number of places on it; 1024 if left out."""


_LARGEST_TABLE: Final = 5000010


def _prime(size: int) -> int:
    if size < 2 or any(size % divisor == 0 for divisor in range(2, int(size**0.5) + 1)):
        raise wrong(f"{size} is no prime number", "write a prime, such as 65537")
    return size


class MagLev(Model):
    """Consistent hashing by table."""

    table_size: Annotated[Uint64, Field(le=_LARGEST_TABLE), AfterValidator(_prime)] | None = None
    """The size of the table, a prime; 65537 if left out."""


def _header(name: str) -> str:
    if not is_header(name):
        raise wrong(f'"{shown(name)}" is no name of a header', "use letters, digits and '-'")
    return name


def _token(name: str) -> str:
    if not is_header(name):
        raise wrong(f'"{shown(name)}" is no name of a cookie or of its attribute', "use letters, digits, '-' and '_'")
    return name


Token = Annotated[Filled, AfterValidator(_token)]


class CookieAttribute(Model):
    """An attribute of a cookie."""

    name: Token
    """Its name, such as `SameSite`."""
    value: Line = ""
    """Its value."""


class HTTPCookie(Model):
    """A cookie whose value decides."""

    rules = (Unique("attributes", by="name"),)
    example = "{name: session, ttl: 0s}"

    name: Token
    """Its name."""
    path: Line = ""
    """The path that it is set for."""
    ttl: DurationOrZero | None = None
    """How long it lives if the proxy makes it; 0s for a session. Left out, the proxy makes none."""
    attributes: tuple[CookieAttribute, ...] = ()
    """Further attributes."""


def _ring_size(raw: Raw) -> Iterator[Finding]:
    if given(raw, "minimumRingSize"):
        for field in ("ringHash", "maglev"):
            if given(raw, field):
                said = f"`minimumRingSize` and `{field}` exclude each other"
                yield Finding(("minimumRingSize",), said, "write it under `ringHash`", at_key=True)


def _keyless(raw: Raw) -> Iterator[Finding]:
    if not any(given(raw, field) for field in _KEYS) or raw.get("useSourceIp") is False:
        said = "nothing says which requests are alike: every one goes to an endpoint by chance"
        yield Finding((), said, f"add {quoted(_KEYS, 'or')}", True, Severity.WARNING)


_KEYS: Final = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")


class ConsistentHashLB(Model):
    """Requests that are alike go to the same endpoint."""

    rules = (
        OneOf(("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")),
        OneOf(("ringHash", "maglev")),
        _ring_size,
        _keyless,
    )
    example = "{httpHeaderName: x-user}"

    http_header_name: Annotated[Filled, AfterValidator(_header)] | None = None
    """Alike by a header."""
    http_cookie: HTTPCookie | None = None
    """Alike by a cookie."""
    use_source_ip: Bool | None = None
    """Alike by the caller's address."""
    http_query_parameter_name: Line | None = None
    """Alike by a query parameter."""
    ring_hash: RingHash | None = None
    """By ring, which is how it is done if left out."""
    maglev: MagLev | None = None
    """By table."""
    minimum_ring_size: Annotated[
        Annotated[Uint64, Field(le=8388608)] | None, Deprecated("ringHash.minimumRingSize")
    ] = None
    """The least number of places on the ring."""


def _shares(raw: Raw) -> Iterator[Finding]:
    shares = list(inner(raw, "to").values())
    if shares and all(type(share) is int for share in shares) and sum(shares) != 100:
        yield Finding(("to",), f"the shares sum to {sum(shares)}, not to 100", "change them to 100 in all", at_key=True)


def _place(text: str) -> str:
    parts = text.split("/")
    if len(parts) > 3 or "" in parts:
        raise wrong(f'"{shown(text)}" is no locality', "write region, region/zone or region/zone/subzone")
    if "*" in text.removesuffix("*") or (text.endswith("*") and parts[-1] != "*"):
        raise wrong(f'"{shown(text)}" is no locality: `*` stands for whole parts, at the end', "write region/*")
    return text


Place = Annotated[Filled, AfterValidator(_place)]
"""A region, a zone or a subzone: `eu`, `eu/eu-1`, `eu/*`."""


def _overlap(one: str, other: str) -> bool:
    """Whether a place is inside the other."""
    return all(a == b or "*" in (a, b) for a, b in zip(one.split("/"), other.split("/"), strict=False))


def _no_overlap(raw: Raw) -> Iterator[Finding]:
    places = [place for place in inner(raw, "to") if isinstance(place, str)]
    for number, place in enumerate(places):
        for before in places[:number]:
            if _overlap(before, place):
                said = f'"{shown(place)}" overlaps with "{shown(before)}"'
                yield Finding(("to", place), said, "name every locality once", at_key=True)


def _one_origin(raw: Raw) -> Iterator[Finding]:
    written = [(n, entry["from"]) for n, entry in items(raw, "distribute") if isinstance(entry.get("from"), str)]
    for number, (place, origin) in enumerate(written):
        for _, before in written[:number]:
            if _overlap(before, origin):
                said = f'"{shown(origin)}" overlaps with "{shown(before)}", which is written before it'
                yield Finding(("distribute", place, "from"), said, "let every entry be for localities of its own")


class Distribute(Model):
    """How traffic from one locality is spread."""

    rules = (_shares, _no_overlap)

    from_: Place
    """Where it comes from: `region/zone/subzone`, `*` for any tail."""
    to: Map[Place, Annotated[Uint32, Field(ge=1, le=100)]]
    """Where it goes: localities with their shares, 100 in all."""


def _regions(raw: Raw) -> Iterator[Finding]:
    for field in ("from", "to"):
        region = raw.get(field)
        if isinstance(region, str) and ("/" in region or "*" in region):
            yield Finding((field,), f'"{shown(region)}" is no region', "name a region alone, without zone or wildcard")
    if raw.get("from") == raw.get("to") and given(raw, "from"):
        yield Finding(("to",), "a region cannot take over from itself", "name another region")


class Failover(Model):
    """Where traffic of a region goes when that region fails."""

    rules = (_regions,)

    from_: Filled
    """The region that fails."""
    to: Filled
    """The region that takes over."""


def _entry(text: str) -> str:
    key, sign, value = text.partition("=")
    if not is_label_key(key) or (sign and not is_label_value(value)):
        raise wrong(f'"{shown(text)}" is no label', "write a label's key, or key=value")
    return text


Entry = Annotated[Filled, AfterValidator(_entry)]
"""A label of which the proxy's own value counts, or `key=value`."""


def _place_twice(raw: Raw) -> Iterator[Finding]:
    if given(raw, "failover"):
        for number, entry in texts(raw, "failoverPriority"):
            if entry.partition("=")[0] in TOPOLOGY:
                said = f"`failover` looks at where endpoints run already, so {shown(entry)} cannot be a label here"
                yield Finding(("failoverPriority", number), said, "remove it, or `failover`")


class LocalityLoadBalancerSetting(Model):
    """How localities share the traffic, or take over from each other."""

    rules = (OneOf(("distribute", "failover")), OneOf(("distribute", "failoverPriority")), _place_twice, _one_origin)

    distribute: tuple[Distribute, ...] = ()
    """How traffic is spread, by where it comes from."""
    failover: tuple[Failover, ...] = ()
    """Which region takes over from which."""
    failover_priority: tuple[Entry, ...] = ()
    """Labels in order: endpoints that share the first ones with the proxy are preferred."""
    enabled: Bool | None = None
    """Whether it is on."""


def _place_by_label(raw: Raw) -> Iterator[Finding]:
    for number, entry in texts(raw, "failoverPriority"):
        if entry.partition("=")[0] in TOPOLOGY:
            said = f"where endpoints run counts already, so {shown(entry)} cannot be a label here"
            yield Finding(("failoverPriority", number), said, "remove it")


class ZoneAwareLoadBalancerSetting(Model):
    """Traffic stays in the proxy's zone as long as that zone can carry its share."""

    rules = (_place_by_label,)

    enabled: Bool | None = None
    """Whether it is on."""
    failover: tuple[Failover, ...] = ()
    """Which region takes over from which."""
    failover_priority: tuple[Entry, ...] = ()
    """Labels in order: endpoints that share the first ones with the proxy are preferred."""
    min_cluster_size: Annotated[Uint64, Field(ge=1)] | None = None
    """With fewer endpoints it is off."""


def _positive(value: float) -> float:
    if value <= 0:
        raise wrong(f"{value:g} is too little", "write a number above 0")
    return value


class WarmupConfiguration(Model):
    """New endpoints get their share little by little."""

    example = "{duration: 30s}"

    duration: Duration
    """How long until they have all of it."""
    minimum_percent: Annotated[Float, Field(ge=0, le=100)] | None = None
    """What they begin with, in percent; 10 if left out."""
    aggression: Annotated[Float, AfterValidator(_positive)] | None = None
    """How the share grows: 1 (if left out) is linear."""


ZONES: Final = NotYet(
    "the region is preferred, and its zones share the traffic by their endpoints, since Envoy is not told in which zones "
    "the caller's own siblings run"
)

Simple = Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]


def _warms(raw: Raw) -> Iterator[Finding]:
    for field in ("warmup", "warmupDurationSecs"):
        if given(raw, field) and (given(raw, "consistentHash") or raw.get("simple") in ("RANDOM", "PASSTHROUGH")):
            said = f"`{field}` has no effect with this balancer"
            yield Finding((field,), said, "use LEAST_REQUEST or ROUND_ROBIN", True, Severity.WARNING)


class LoadBalancerSettings(Model):
    """How the endpoint of a request is chosen."""

    rules = (
        OneOf(("simple", "consistentHash")),
        OneOf(("warmupDurationSecs", "warmup")),
        OneOf(("localityLbSetting", "zoneAwareLbSetting")),
        _warms,
    )
    example = "{simple: ROUND_ROBIN}"

    simple: Annotated[Simple | None, Deprecated("LEAST_REQUEST", values=frozenset({"LEAST_CONN"}))] = None
    """By a plain rule; LEAST_REQUEST if left out."""
    consistent_hash: ConsistentHashLB | None = None
    """Requests that are alike go to the same endpoint."""
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    """How localities share the traffic, or take over from each other."""
    zone_aware_lb_setting: Annotated[ZoneAwareLoadBalancerSetting | None, ZONES] = None
    """Traffic stays in the proxy's zone."""
    warmup_duration_secs: Annotated[Duration | None, Deprecated("warmup")] = None
    """How long until new endpoints have all of their share."""
    warmup: WarmupConfiguration | None = None
    """New endpoints get their share little by little."""
