"""What a rule of a VirtualService does with a request: redirect, answer, rewrite, retry, fail on purpose, copy, admit.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import (
    AnyOf,
    Deprecated,
    Excludes,
    Finding,
    Idle,
    Model,
    OneOf,
    Raw,
    Rule,
    given,
    items,
)
from legation.model.traffic import (
    Destination,
    Percent,
    StringMatch,
    is_header,
)
from legation.model.values import (
    Base64,
    Bool,
    Count,
    Duration,
    Int,
    Line,
    PortNumber,
    Str,
    StrictRegex,
    Uint32,
    fault_of_regex,
    shown,
    wrong,
)
from legation.problems import Severity


class HTTPRedirect(Model):
    """Answers with another address."""

    rules = (
        OneOf(("port", "derivePort")),
        Excludes("uri", ("prefixRewrite",)),
        AnyOf(("uri", "prefixRewrite", "authority", "port", "derivePort", "scheme")),
    )
    example = "{uri: /other/path}"

    uri: Line = ""
    """The new path, whole; the query is kept unless it has one of its own."""
    authority: Line = ""
    """The new host."""
    port: PortNumber | None = None
    """The new port."""
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    """How the new port follows from the request."""
    scheme: Literal["", "http", "https"] = ""
    """The new scheme."""
    redirect_code: Literal[0, 301, 302, 303, 307, 308] = 0
    """The status of the answer; 301 if left out."""
    prefix_rewrite: Line = ""
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

    match: StrictRegex
    """An RE2 expression: every part of the path that it matches is replaced."""
    rewrite: Annotated[Line, Field(min_length=1)]
    """What stands in its place; `\\1` is the first group."""


class HTTPRewrite(Model):
    """Changes the request before it is sent on."""

    rules = (AnyOf(("uri", "authority", "uriRegexRewrite")), Excludes("uri", ("uriRegexRewrite",)))
    example = "{uri: /other/path}"

    uri: Line = ""
    """What stands in place of the matched prefix; of the whole path if it was matched exactly or by expression."""
    authority: Line = ""
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

    rules: ClassVar[tuple[Rule, ...]] = (_no_attempts,)
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
    exponential_delay: Annotated[Duration | None, Idle("never offered; an error")] = None
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
    http2_error: Annotated[Str | None, Idle("never offered; an error")] = None
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


def _origins(raw: Raw) -> Iterator[Finding]:
    for index, origin in items(raw, "allowOrigins"):
        if origin.get("regex") == "*":
            yield Finding(("allowOrigins", index, "regex"), f'"*" {fault_of_regex("*")}', "write .* for any origin")
        if not any(origin.get(field) for field in ("exact", "prefix", "regex")):
            said = "an origin without `exact`, `prefix` or `regex`"
            yield Finding(
                ("allowOrigins", index), said, "say which, such as {exact: https://shop.example.com}", at_key=True
            )


class CorsPolicy(Model):
    """Which pages of other origins may call."""

    rules = (_origins,)

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
