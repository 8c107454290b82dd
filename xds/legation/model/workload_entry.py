"""WorkloadEntry: one endpoint outside Kubernetes: a VM, a container, a process.

Source: https://istio.io/latest/docs/reference/config/networking/workload-entry/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from legation.model.base import EMPTY, AnyOf, Finding, Model, NotYet, Raw, Rule, given
from legation.model.values import Labels, Map, PortNumber, Str, Uint32, fault_of_host, is_ip, shown, wrong
from legation.problems import Severity

MAX_SOCKET: Final = 107
"""Bytes of a Unix socket's path: Linux takes no more, and Envoy refuses the cluster."""
_PORT_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,60}[a-zA-Z0-9])?\Z")


def _address(text: str) -> str:
    if len(text) > 256:
        raise wrong("an address of more than 256 characters", "write an IP address, a host name or unix:///a/path")
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if not path.startswith(("/", "@")):
            raise wrong(f'"{shown(text)}": the path of a Unix socket is absolute', "write unix:///an/absolute/path")
        if path.endswith("/"):
            raise wrong(f'"{shown(text)}" is a directory', "name the socket in it")
        if len(path.encode()) > MAX_SOCKET:
            raise wrong(f'"{shown(text)}": a socket\'s path has at most {MAX_SOCKET} bytes', "move the socket up")
    elif text and not is_ip(text) and (fault := fault_of_host(text, wildcard=False)):
        hint = "write the host alone; ports have a field of their own" if re.search(r":[0-9]+\Z", text) else ""
        raise wrong(f'"{shown(text)}" {fault}', hint or "write an IP address, a host name or unix:///a/path")
    return text


def _port_name(text: str) -> str:
    if not _PORT_NAME.match(text):
        raise wrong(f'"{shown(text)}" is no name of a port', "use letters, digits and '-', at most 62")
    return text


def _socket(raw: Raw) -> Iterator[Finding]:
    address = raw.get("address")
    if isinstance(address, str) and address.startswith("unix://") and given(raw, "ports"):
        yield Finding(("ports",), "a Unix socket has no ports", "remove them", at_key=True)


def _locality(raw: Raw) -> Iterator[Finding]:
    text = raw.get("locality")
    if isinstance(text, str) and text and ("" in (parts := text.split("/")) or len(parts) > 3):
        said = f'"{shown(text)}" is no locality: it has up to three parts, none of them empty'
        yield Finding(("locality",), said, "write region/zone/subzone", severity=Severity.WARNING)


class Endpoint(Model):
    """An endpoint, which may leave its address to whoever fills the template."""

    rules: ClassVar[tuple[Rule, ...]] = (_socket, _locality)
    example = "{address: 10.0.0.7}"

    address: Annotated[Str, AfterValidator(_address)] = ""
    """Where it is: an IP address, a host name, or `unix:///path`."""
    ports: Annotated[Map[Annotated[Str, AfterValidator(_port_name)], PortNumber], Field(max_length=128)] = EMPTY
    """By the service's port names, the ports that it really listens on."""
    labels: Annotated[Labels, Field(max_length=256)] = EMPTY
    """Labels, for subsets and selectors."""
    network: Annotated[Str, Field(max_length=2048), NotYet("every endpoint is reached directly")] = ""
    """The network that it is in."""
    locality: Annotated[Str, Field(max_length=2048)] = ""
    """Where it runs: `region/zone/subzone`."""
    weight: Uint32 = 0
    """Its share of the traffic, relative to the others; 1 if left out."""
    service_account: Annotated[Str, Field(max_length=253)] = ""
    """The service account that it runs under: a name that its certificate must have, where TLS is the mesh's own."""


class WorkloadEntry(Endpoint):
    """One endpoint outside Kubernetes."""

    rules = (_socket, _locality, AnyOf(("address", "network")))
