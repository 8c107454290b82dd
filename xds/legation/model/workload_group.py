"""WorkloadGroup: the template of the WorkloadEntries of workloads that register themselves.

Source: https://istio.io/latest/docs/reference/config/networking/workload-group/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from legation.model.base import EMPTY, FOR_SOME, Finding, Idle, Model, OneOf, Raw
from legation.model.values import Count, Filled, Labels, Map, PortNumber, Str
from legation.model.workload_entry import Endpoint
from legation.problems import Severity

_NOBODY: Final = Idle("workloads do not register themselves here")


class TemplateMeta(Model):
    """What the entries' metadata begins with."""

    labels: Annotated[Labels, Field(max_length=256)] = EMPTY
    """Their labels."""
    annotations: Annotated[Map[Str, Str], Field(max_length=256)] = EMPTY
    """Their annotations."""


class HTTPHeader(Model):
    """A header of a probe's request."""

    name: Annotated[Str, Field(pattern=r"^[-_A-Za-z0-9]+$")]
    """Its name."""
    value: Str = ""
    """Its value."""


class HTTPHealthCheckConfig(Model):
    """Healthy if a request is answered well."""

    path: Str = ""
    """The path that is asked for."""
    port: PortNumber
    """The port."""
    host: Str = ""
    """The host; this machine if left out."""
    scheme: Literal["", "HTTP", "HTTPS"] = ""
    """HTTP if left out."""
    http_headers: tuple[HTTPHeader, ...] = ()
    """Headers of the request."""


class TCPHealthCheckConfig(Model):
    """Healthy if a connection succeeds."""

    host: Str = ""
    """The host; this machine if left out."""
    port: PortNumber
    """The port."""


class ExecHealthCheckConfig(Model):
    """Healthy if a command exits with 0."""

    command: tuple[Filled, ...] = Field(min_length=1)
    """The command and its arguments."""


class GrpcHealthCheckConfig(Model):
    """Healthy if gRPC's health service says so."""

    port: PortNumber
    """The port."""
    service: Str = ""
    """The service that is asked about."""


class ReadinessProbe(Model):
    """How it is found out whether a workload is ready."""

    rules = (OneOf(("httpGet", "tcpSocket", "exec", "grpc"), required=True),)

    initial_delay_seconds: Count = 0
    """How long after its start the first look is."""
    timeout_seconds: Count = 0
    """How long an answer may take."""
    period_seconds: Count = 0
    """The time between looks."""
    success_threshold: Count = 0
    """Good answers in a row after which it is ready."""
    failure_threshold: Count = 0
    """Bad answers in a row after which it is not."""
    http_get: HTTPHealthCheckConfig | None = None
    """By HTTP."""
    tcp_socket: TCPHealthCheckConfig | None = None
    """By TCP."""
    exec: ExecHealthCheckConfig | None = None
    """By a command."""
    grpc: GrpcHealthCheckConfig | None = None
    """By gRPC."""


def _alone(_raw: Raw) -> Iterator[Finding]:
    said = "a WorkloadGroup is a template for workloads that register themselves; by itself it makes no endpoints"
    yield Finding((), said, "write a WorkloadEntry for each workload", True, Severity.INFO, FOR_SOME)


class WorkloadGroup(Model):
    """The template of the WorkloadEntries of workloads that register themselves."""

    rules = (_alone,)

    metadata: Annotated[TemplateMeta | None, _NOBODY] = None
    """What the entries' metadata begins with."""
    template: Annotated[Endpoint, _NOBODY]
    """What the entries begin with."""
    probe: Annotated[ReadinessProbe | None, _NOBODY] = None
    """How it is found out whether a workload is ready."""
