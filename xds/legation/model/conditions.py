"""What a rule of a VirtualService asks for: conditions of requests, and of connections.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from legation.model.base import EMPTY, NOT_SUPPORTED, Finding, Model, NotYet, Partly, Raw, inner
from legation.model.traffic import PSEUDO_HEADERS, StringMatch, UriMatch, is_header
from legation.model.values import (
    Bool,
    Filled,
    Host,
    Label,
    Labels,
    Map,
    PortNumber,
    Str,
    Subnet,
    fault_of_host,
    fault_of_regex,
    is_label,
    shown,
    wrong,
)
from legation.problems import Severity

CLAIMS: Final = "@request.auth.claims"
"""What the "header" of a match begins with if it means a claim of the request's token."""


def _matched_header(name: str) -> str:
    if not (is_header(name) or name in PSEUDO_HEADERS or name.startswith(CLAIMS)):
        raise wrong(f'"{shown(name)}" is no header name', "use letters, digits and '-'")
    return name


HeaderName = Annotated[Str, AfterValidator(_matched_header)]
_NO_CLAIMS: Final = Partly("claims of tokens")


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
                said = "matching on a token's claims is not supported yet: this match is never true"
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
    headers: Annotated[Map[HeaderName, StringMatch], _NO_CLAIMS] = EMPTY
    """Headers that must be there and match. An empty condition: the header must be there."""
    port: PortNumber | None = None
    """The port that was called: of the service, or of the Gateway's server."""
    source_labels: Labels = EMPTY
    """Labels of the calling workload. Not looked at where `gateways` is given."""
    gateways: tuple[GatewayName, ...] = ()
    """Only through these gateways; the VirtualService must be bound to them anyway."""
    query_params: Map[Annotated[Filled, Field(max_length=1024)], StringMatch] = EMPTY
    """Query parameters that must be there and match."""
    ignore_uri_case: Bool = False
    """Whether upper and lower case are the same in `uri`, save in an expression."""
    without_headers: Annotated[Map[HeaderName, StringMatch | None], _NO_CLAIMS] = EMPTY
    """Headers that must not match. A missing header counts as an empty one."""
    source_namespace: Label | None = None
    """The namespace of the calling workload. Not looked at where `gateways` is given."""
    stat_prefix: Str = ""
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


def _whole_parts(text: str) -> str:
    if text.startswith("*") and text != "*" and not text.startswith("*."):
        raise wrong(
            f'"{shown(text)}": in a handshake a wildcard stands for whole parts', f"write *.{text.lstrip('*-')}"
        )
    return text


class TLSMatchAttributes(Model):
    """Conditions that a TLS connection must meet, all of them."""

    sni_hosts: tuple[Annotated[Host, AfterValidator(_whole_parts)], ...] = Field(min_length=1)
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
