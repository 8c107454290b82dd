"""VirtualService: which requests go where, and what happens to them on the way.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import (
    EMPTY,
    NOT_SUPPORTED,
    AnyOf,
    Deprecated,
    Excludes,
    Finding,
    Model,
    NotYet,
    OneOf,
    Raw,
    given,
    inner,
    items,
    number,
    texts,
)
from legation.model.traffic import (
    PSEUDO_HEADERS,
    Destination,
    ExportTo,
    Headers,
    Percent,
    StringMatch,
    UriMatch,
    Visibility,
    is_header,
)
from legation.model.values import (
    Base64,
    Bool,
    Count,
    Duration,
    Filled,
    Host,
    Int,
    Label,
    Labels,
    Map,
    PortNumber,
    Regex,
    Str,
    Subnet,
    Uint32,
    fault_of_host,
    fault_of_regex,
    is_label,
    shown,
    wrong,
)
from legation.names import MESH_GATEWAY
from legation.problems import Path, Severity

CLAIMS: Final = "@request.auth.claims"
"""What the "header" of a match begins with if it means a claim of the request's token."""

# --- match --------------------------------------------------------------------------------------------------------


def _matched_header(name: str) -> str:
    if not (is_header(name) or name in PSEUDO_HEADERS or name.startswith(CLAIMS)):
        raise wrong(f'"{shown(name)}" is no header name', "use letters, digits and '-'")
    return name


HeaderName = Annotated[Str, AfterValidator(_matched_header)]


def _gateway_name(text: str) -> str:
    namespace, slash, name = text.rpartition("/")
    good = is_label(name) and (not slash or namespace == "." or is_label(namespace))
    if not good and (slash or fault_of_host(text, wildcard=False)):
        raise wrong(f'"{shown(text)}" names no gateway', "write its name, namespace/name, or mesh")
    return text


GatewayName = Annotated[Str, AfterValidator(_gateway_name)]
"""A Gateway as `name` or `namespace/name`, or `mesh`: all sidecars."""


def _claims(raw: Raw) -> Iterator[Finding]:
    for field in ("headers", "withoutHeaders"):
        for name in inner(raw, field):
            if name.startswith(CLAIMS):
                said = "matching on a token's claims is not supported yet: the condition is never true"
                yield Finding((field, name), said, "remove it", True, Severity.WARNING, NOT_SUPPORTED)


def _star_expressions(raw: Raw) -> Iterator[Finding]:
    """`*` says "present" of a header; of anything else it would be an expression, and is none."""
    for field in ("uri", "scheme", "method", "authority"):
        if inner(raw, field).get("regex") == "*":
            yield Finding((field, "regex"), f'"*" {fault_of_regex("*")}', "write .* for any text")


class HTTPMatchRequest(Model):
    """Conditions that a request must meet, all of them."""

    rules = (_claims, _star_expressions)
    example = "{uri: {prefix: /some/path}}"

    name: Str = ""
    """Becomes part of the route's name."""
    uri: UriMatch | None = None
    """The path, without the query."""
    scheme: StringMatch | None = None
    """`http` or `https`."""
    method: StringMatch | None = None
    """The HTTP method, in capitals."""
    authority: StringMatch | None = None
    """The Host header, as it was sent: with a port if it had one."""
    headers: Map[HeaderName, StringMatch] = EMPTY
    """Headers that must be there and match. An empty condition: the header must be there."""
    port: PortNumber | None = None
    """The port that was called: of the service, or of the Gateway's server."""
    source_labels: Labels = EMPTY
    """Labels of the calling workload. Not looked at where `gateways` is given."""
    gateways: tuple[GatewayName, ...] = ()
    """Only through these gateways; the VirtualService must be bound to them anyway."""
    query_params: Map[Filled, StringMatch] = EMPTY
    """Query parameters that must be there and match."""
    ignore_uri_case: Bool = False
    """Whether upper and lower case are the same in `uri`, save in an expression."""
    without_headers: Map[HeaderName, StringMatch | None] = EMPTY
    """Headers that must not match. A missing header counts as an empty one."""
    source_namespace: Label | None = None
    """The namespace of the calling workload. Not looked at where `gateways` is given."""
    stat_prefix: Annotated[Str, NotYet()] = ""
    """The name of statistics of their own for these requests."""


class L4MatchAttributes(Model):
    """Conditions that a connection must meet, all of them."""

    destination_subnets: tuple[Subnet, ...] = ()
    """Blocks of addresses, one of which was called."""
    port: PortNumber | None = None
    """The port that was called."""
    source_subnet: Annotated[Subnet | None, NotYet()] = None
    """A block of addresses that the caller is in."""
    source_labels: Labels = EMPTY
    """Labels of the calling workload."""
    gateways: tuple[GatewayName, ...] = ()
    """Only through these gateways."""
    source_namespace: Label | None = None
    """The namespace of the calling workload."""


class TLSMatchAttributes(Model):
    """Conditions that a TLS connection must meet, all of them."""

    sni_hosts: tuple[Host, ...] = Field(min_length=1)
    """Names, one of which the client asks for (SNI)."""
    destination_subnets: tuple[Subnet, ...] = ()
    """Blocks of addresses, one of which was called."""
    port: PortNumber | None = None
    """The port that was called."""
    source_labels: Labels = EMPTY
    """Labels of the calling workload."""
    gateways: tuple[GatewayName, ...] = ()
    """Only through these gateways."""
    source_namespace: Label | None = None
    """The namespace of the calling workload."""


# --- where to -----------------------------------------------------------------------------------------------------


def weights(raw: Raw) -> Iterator[Finding]:
    """Of several destinations, one at least must have a weight. They need not sum to 100."""
    routes = items(raw, "route")
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


class HTTPRedirect(Model):
    """Answers with another address."""

    rules = (
        OneOf(("port", "derivePort")),
        Excludes("uri", ("prefixRewrite",)),
        AnyOf(("uri", "prefixRewrite", "authority", "port", "derivePort", "scheme")),
    )
    example = "{uri: /other/path}"

    uri: Str = ""
    """The new path, whole; the query is kept unless it has one of its own."""
    authority: Str = ""
    """The new host."""
    port: PortNumber | None = None
    """The new port."""
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    """How the new port follows from the request."""
    scheme: Literal["", "http", "https"] = ""
    """The new scheme."""
    redirect_code: Literal[0, 301, 302, 303, 307, 308] = 0
    """The status of the answer; 301 if left out."""
    prefix_rewrite: Str = ""
    """What stands in place of the matched prefix."""


MAX_BODY: Final = 1024 * 1024
LARGE_BODY: Final = 100 * 1024


def _size(raw: Raw) -> Iterator[Finding]:
    for field in ("string", "bytes"):
        value = raw.get(field)
        if not isinstance(value, str):
            continue
        size = len(value.encode(errors="replace")) if field == "string" else len(value) * 3 // 4
        if size > MAX_BODY:
            yield Finding((field,), "a body of more than 1 MiB", "Envoy refuses it; serve it from a service")
        elif size > LARGE_BODY:
            said = "a body of more than 100 kB makes every proxy's configuration large"
            yield Finding((field,), said, "serve it from a service", severity=Severity.WARNING)


class HTTPBody(Model):
    """The body of an answer."""

    rules = (OneOf(("string", "bytes")), _size)
    example = "{string: some text}"

    string: Str | None = None
    """As text."""
    bytes: Base64 | None = None
    """As bytes, in base64."""


class HTTPDirectResponse(Model):
    """Answers by itself."""

    example = "{status: 404}"

    status: Annotated[Uint32, Field(ge=200, le=599)]
    """The status of the answer."""
    body: HTTPBody | None = None
    """Its body; none if left out."""


class RegexRewrite(Model):
    """Changes the path by an expression."""

    match: Regex
    """An RE2 expression: every part of the path that it matches is replaced."""
    rewrite: Filled
    """What stands in its place; `\\1` is the first group."""


class HTTPRewrite(Model):
    """Changes the request before it is sent on."""

    rules = (AnyOf(("uri", "authority", "uriRegexRewrite")), Excludes("uri", ("uriRegexRewrite",)))
    example = "{uri: /other/path}"

    uri: Str = ""
    """What stands in place of the matched prefix; of the whole path if it was matched exactly or by expression."""
    authority: Str = ""
    """The new Host header."""
    uri_regex_rewrite: RegexRewrite | None = None
    """Changes the path by an expression."""


RETRY_ON: Final = (
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream",
    "retriable-status-codes", "retriable-headers", "envoy-ratelimited", "http3-post-connect-failure", "cancelled",
    "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
)  # fmt: skip
_STATUS: Final = frozenset(str(int(status)) for status in HTTPStatus)


def _retry_on(text: str) -> str:
    for item in text.split(",") if text else ():
        if item in RETRY_ON or item in _STATUS:
            continue
        if item.strip() in RETRY_ON or item.strip() in _STATUS:
            raise wrong("spaces between the conditions", "write them with commas alone: 5xx,reset")
        raise wrong(f'"{shown(item)}" is no condition to retry on', f"known: {', '.join(RETRY_ON)}, or a status")
    return text


def _no_attempts(raw: Raw) -> Iterator[Finding]:
    if raw.get("attempts", 0) == 0 and raw.get("attempts") is not False:
        for field in ("perTryTimeout", "retryOn", "retryRemoteLocalities"):
            if raw.get(field) not in (None, "", False):
                said = f"`{field}` has no meaning without `attempts`"
                yield Finding((field,), said, "give `attempts`, or remove it; no attempts: retries are off", True)


class HTTPRetry(Model):
    """How often a failed request is tried again, and when."""

    rules = (_no_attempts,)
    example = "{attempts: 2}"

    attempts: Count = 0
    """Tries after the first one; 0 turns retries off."""
    per_try_timeout: Duration | None = None
    """How long each try may take; as long as all of them if left out."""
    retry_on: Annotated[Str, AfterValidator(_retry_on)] = ""
    """Conditions with commas between them: Envoy's names, or statuses."""
    retry_remote_localities: Bool | None = None
    """Whether the next try may go to another locality."""
    retry_ignore_previous_hosts: Bool | None = None
    """Whether the next try avoids the hosts that failed."""
    backoff: Duration | None = None
    """The least pause between tries; 25ms if left out."""


# --- faults -------------------------------------------------------------------------------------------------------


def _delay(raw: Raw) -> Iterator[Finding]:
    if given(raw, "exponentialDelay"):
        said = "`exponentialDelay` is not offered by Istio or Envoy"
        yield Finding(("exponentialDelay",), said, "use `fixedDelay`", at_key=True)
    elif not given(raw, "fixedDelay"):
        yield Finding((), "`fixedDelay` is missing", "add `fixedDelay`, such as 5s", at_key=True)
    if not given(raw, "percentage") and not given(raw, "percent"):
        said = "without `percentage` no request is delayed"
        yield Finding((), said, "add `percentage: {value: 100}`", True, Severity.WARNING)


def _abort(raw: Raw) -> Iterator[Finding]:
    if given(raw, "http2Error"):
        said = "`http2Error` is not offered by Istio or Envoy"
        yield Finding(("http2Error",), said, "use `httpStatus` or `grpcStatus`", at_key=True)
    elif not given(raw, "httpStatus") and not given(raw, "grpcStatus"):
        said = "an abort without a status has no effect"
        yield Finding((), said, "add `httpStatus` or `grpcStatus`", True, Severity.WARNING)
    if not given(raw, "percentage"):
        said = "without `percentage` no request is aborted"
        yield Finding((), said, "add `percentage: {value: 100}`", True, Severity.WARNING)


class FaultDelay(Model):
    """Lets requests wait."""

    rules = (OneOf(("fixedDelay", "exponentialDelay")), _delay)
    example = "{fixedDelay: 5s, percentage: {value: 100}}"

    percent: Annotated[Annotated[Int, Field(ge=0, le=100)] | None, Deprecated("percentage")] = None
    """The share of requests, as a whole number."""
    fixed_delay: Duration | None = None
    """How long."""
    exponential_delay: Duration | None = None
    """Never offered."""
    percentage: Percent | None = None
    """The share of requests; none if left out."""


GrpcStatus = Literal[
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
]  # fmt: skip


class FaultAbort(Model):
    """Lets requests fail."""

    rules = (OneOf(("httpStatus", "grpcStatus", "http2Error")), _abort)
    example = "{httpStatus: 503, percentage: {value: 100}}"

    http_status: Annotated[Int, Field(ge=200, le=599)] | None = None
    """With this HTTP status."""
    grpc_status: GrpcStatus | None = None
    """With this gRPC status."""
    http2_error: Str | None = None
    """Never offered."""
    percentage: Percent | None = None
    """The share of requests; none if left out."""


class HTTPFaultInjection(Model):
    """Faults on purpose. What is aborted is not tried again."""

    rules = (AnyOf(("delay", "abort")),)

    delay: FaultDelay | None = None
    """Lets requests wait."""
    abort: FaultAbort | None = None
    """Lets requests fail."""


class HTTPMirrorPolicy(Model):
    """A copy of requests, whose answers nobody waits for."""

    destination: Destination
    """Where the copy goes."""
    percentage: Percent | None = None
    """The share of requests; all if left out."""


def _cors_method(text: str) -> str:
    if text not in _METHODS:
        raise wrong(f'"{shown(text)}" is no HTTP method', f"known: {', '.join(_METHODS)}")
    return text


_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*")


def _cors_header(text: str) -> str:
    if not is_header(text):
        raise wrong(f'"{shown(text)}" is no header name', "use letters, digits and '-', or * for all")
    return text


CorsHeader = Annotated[Str, AfterValidator(_cors_header)]


def _whole_seconds(value: Duration) -> Duration:
    if value.microseconds:
        raise wrong("browsers are told whole seconds", "write whole seconds")
    return value


class CorsPolicy(Model):
    """Which pages of other origins may call."""

    allow_origin: Annotated[tuple[Str, ...], Deprecated("allowOrigins")] = ()
    """Origins, as they are."""
    allow_origins: tuple[StringMatch, ...] = ()
    """Origins."""
    allow_methods: tuple[Annotated[Str, AfterValidator(_cors_method)], ...] = ()
    """Methods that may be used."""
    allow_headers: tuple[CorsHeader, ...] = ()
    """Headers that may be sent."""
    expose_headers: tuple[CorsHeader, ...] = ()
    """Headers that the page may read."""
    max_age: Annotated[Duration, AfterValidator(_whole_seconds)] | None = None
    """How long a browser may remember this."""
    allow_credentials: Bool | None = None
    """Whether cookies may be sent along."""
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"
    """What happens to a preflight request of another origin."""


# --- rules --------------------------------------------------------------------------------------------------------


def _prefix_redirect(raw: Raw) -> Iterator[Finding]:
    if inner(raw, "redirect").get("prefixRewrite"):
        for index, match in items(raw, "match"):
            if given(match, "uri") and not given(inner(match, "uri"), "prefix"):
                said = "`redirect.prefixRewrite` needs a match by prefix"
                yield Finding(("match", index, "uri"), said, "match with `prefix`, or redirect with `uri`", at_key=True)


def _one_authority(raw: Raw) -> Iterator[Finding]:
    found: list[Path] = [("rewrite", "authority")] if inner(raw, "rewrite").get("authority") else []
    for operation in ("set", "add"):
        names = inner(raw, "headers", "request", operation)
        found += (("headers", "request", operation, name) for name in names if name.lower() in ("host", ":authority"))
    for path in found[1:]:
        yield Finding(path, "the host is rewritten twice", "keep one of the places", at_key=True)


def _mirror_share(raw: Raw) -> Iterator[Finding]:
    if not given(raw, "mirror"):
        for field in ("mirrorPercentage", "mirrorPercent"):
            if given(raw, field):
                yield Finding(
                    (field,), f"`{field}` has no effect without `mirror`", "add `mirror`", True, Severity.WARNING
                )


class HTTPRoute(Model):
    """A rule: requests that one of `match` fits are routed, redirected or answered. The first rule that fits wins."""

    rules = (
        Excludes("redirect", ("route", "directResponse", "rewrite", "fault")),
        Excludes("directResponse", ("route", "rewrite", "fault")),
        Excludes("delegate", ("route", "redirect", "directResponse")),
        Excludes("mirror", ("mirrors",)),
        AnyOf(("route", "redirect", "directResponse"), unless=("delegate",)),
        weights,
        _prefix_redirect,
        _one_authority,
        _mirror_share,
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
    delegate: Annotated[Delegate | None, NotYet("the rule is left out")] = None
    """Another VirtualService whose rules stand in for this one."""
    rewrite: HTTPRewrite | None = None
    """Changes path and host before the request is sent on."""
    timeout: Duration | None = None
    """How long a request may take, all tries together; for ever if left out."""
    retries: HTTPRetry | None = None
    """How often a failed request is tried again; twice if left out."""
    fault: HTTPFaultInjection | None = None
    """Faults on purpose."""
    mirror: Annotated[Destination | None, NotYet()] = None
    """Where a copy of requests goes."""
    mirrors: Annotated[tuple[HTTPMirrorPolicy, ...], NotYet()] = ()
    """Where copies of requests go."""
    mirror_percent: Annotated[Annotated[Uint32, Field(le=100)] | None, NotYet(), Deprecated("mirrorPercentage")] = None
    """The share of requests that is copied, as a whole number."""
    mirror_percentage: Annotated[Percent | None, NotYet()] = None
    """The share of requests that is copied; all if left out."""
    cors_policy: Annotated[CorsPolicy | None, NotYet("pages of other origins may not call")] = None
    """Which pages of other origins may call."""
    headers: Headers | None = None
    """What happens to headers."""


class TLSRoute(Model):
    """A rule for TLS that passes through unread."""

    rules = (weights,)

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


def _delegates(raw: Raw) -> Iterator[Finding]:
    if given(raw, "hosts"):
        return
    for field in ("gateways", "tls", "tcp"):
        if given(raw, field):
            yield Finding((), "`hosts` is missing", "add `hosts`: the names that clients call", at_key=True)
            return
    said = "without `hosts` this is a delegate of other VirtualServices, which is not supported yet: it has no effect"
    yield Finding((), said, "add `hosts`: the names that clients call", True, Severity.WARNING, NOT_SUPPORTED)


def _old_gateway_names(raw: Raw) -> Iterator[Finding]:
    for index, name in texts(raw, "gateways"):
        if "." in name and "/" not in name:
            first, second = name.split(".")[:2]
            hint = f"write {second}/{first}" if is_label(first) and is_label(second) else "write namespace/name"
            said = f'"{shown(name)}" is the old way to name a gateway'
            yield Finding(("gateways", index), said, hint, severity=Severity.WARNING)


class VirtualService(Model):
    """Which requests go where, and what happens to them on the way."""

    rules = (AnyOf(("http", "tcp", "tls")), _hosts, _delegates, _old_gateway_names, Visibility())

    hosts: tuple[Host, ...] = ()
    """The names that clients call."""
    gateways: tuple[GatewayName, ...] = ()
    """The gateways that it is bound to; if left out, `mesh`: all sidecars."""
    http: tuple[HTTPRoute, ...] = ()
    """Rules for HTTP and gRPC, in order."""
    tls: Annotated[tuple[TLSRoute, ...], NotYet("TLS is not routed by name")] = ()
    """Rules for TLS that passes through unread, in order."""
    tcp: Annotated[tuple[TCPRoute, ...], NotYet("TCP is not routed")] = ()
    """Rules for other protocols, in order."""
    export_to: ExportTo = ()
    """The namespaces that see it: `*` all (if left out), `.` its own, or names."""

    @property
    def bound_to(self) -> tuple[str, ...]:
        """The gateways that it is bound to, as they are written; `mesh` where none is."""
        return self.gateways or (MESH_GATEWAY,)
