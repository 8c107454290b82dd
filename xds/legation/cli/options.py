"""Options that several commands have, and how what is written becomes a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from legation import journal
from legation.cli.flags import F, option
from legation.model.proxy import GATEWAY_LABELS, Capture, Client, Locality, Proxy, Role, labels
from legation.model.world import Mesh

if TYPE_CHECKING:
    from legation.hooks import Hook
    from legation.traces import Traces


def pairs(_: click.Context, parameter: click.Parameter, written: tuple[str, ...]) -> dict[str, str]:
    """`k=v`, several times."""
    made: dict[str, str] = {}
    for text in written:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param=parameter)
        made[key] = value
    return made


def port_pairs(_: click.Context, parameter: click.Parameter, written: tuple[str, ...]) -> dict[int, int]:
    """`80=8080`, several times."""
    made: dict[int, int] = {}
    for text in written:
        key, _sign, value = text.partition("=")
        if not (key.isdigit() and value.isdigit() and 0 < int(key) < 65536 and 0 < int(value) < 65536):
            raise click.BadParameter(f"{text!r} is not PORT=PORT", param=parameter)
        made[int(key)] = int(value)
    return made


def address(_: click.Context, parameter: click.Parameter, written: str | None) -> tuple[str, int] | None:
    """`HOST:PORT`, or `none`."""
    if written is None or written == "none":
        return None
    host, _sign, port = written.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{written!r} is not HOST:PORT", param=parameter)
    return host.strip("[]"), int(port)


def xds_addresses(_: click.Context, parameter: click.Parameter, written: tuple[str, ...]) -> tuple[str, ...]:
    """`HOST:PORT` or `unix:PATH`, several times; or `none`."""
    if written == ("none",):
        return ()
    for text in written:
        host, _sign, port = text.rpartition(":")
        is_address = bool(host) and port.isdigit() and int(port) < 65536  # gRPC takes a larger one modulo 65536
        if not (text.removeprefix("unix:") if text.startswith("unix:") else is_address):
            raise click.BadParameter(f"{text!r} is not HOST:PORT or unix:PATH", param=parameter)
    return written


def ip(_: click.Context, parameter: click.Parameter, written: str) -> str:
    """An IP address."""
    try:
        ip_address(written)
    except ValueError:
        raise click.BadParameter(f"{written!r} is not an IP address", param=parameter) from None
    return written


def seconds(_: click.Context, parameter: click.Parameter, written: float | None) -> float | None:
    """A span of time that a loop can wait for."""
    if written is not None and not 0.01 <= written <= 86400:
        raise click.BadParameter(f"{written:g} is not from 0.01 to 86400 seconds", param=parameter)
    return written


def is_local(listening: str) -> bool:
    """Whether only this machine can reach an address."""
    if listening.startswith("unix:"):
        return True
    host = listening.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


PROXYLESS = "grpc"
"""Stands where a role is asked for: gRPC's own library, which calls as a sidecar would and needs none."""
ROLE = click.Choice([*(role.value for role in Role), PROXYLESS])
CAPTURE = click.Choice([capture.value for capture in Capture])


def role_of(written: str) -> Role:
    """What a client is to the mesh, by a word of ROLE."""
    return Role.SIDECAR if written == PROXYLESS else Role(written)


@dataclass(frozen=True, slots=True)
class Asker:
    """The proxy that `render` speaks for."""

    role: str
    namespace: str
    labels: dict[str, str]
    port_map: dict[int, int]
    bind: str
    locality: str
    name: str
    capture: str

    def proxy(self) -> Proxy:
        """A gateway that names no label has Istio's."""
        role = role_of(self.role)
        own = self.labels or (GATEWAY_LABELS if role is Role.GATEWAY else {})
        return Proxy(
            id="render", role=role, namespace=self.namespace, name=self.name, labels=labels(own),
            capture=Capture(self.capture), bind=self.bind, port_map=tuple(sorted(self.port_map.items())),
            client=Client.GRPC if self.role == PROXYLESS else Client.ENVOY,
            locality=Locality.parse(self.locality),
        )  # fmt: skip


def mesh(deployments: str) -> Mesh:
    """What the flags say of the whole mesh."""
    return Mesh(deployments_are_hosts=deployments == "dns")


def hooks() -> Callable[[F], F]:
    """`--hooks`, for whoever wants something of Envoy that no document says."""
    return option(
        "--hooks", default=None, metavar="MODULE:FUNCTION", callback=_hook,
        help="A Python function that edits what proxies get; see docs/hooks.md.",
    )  # fmt: skip


def _hook(_: click.Context, parameter: click.Parameter, written: str | None) -> Hook | None:
    if written is None:
        return None
    from legation.hooks import NoHook, load  # noqa: PLC0415 - hardly anybody has one

    try:
        return load(written)
    except NoHook as error:
        raise click.BadParameter(str(error), param=parameter) from None


def mesh_config() -> Callable[[F], F]:
    """`--mesh-config`, for what holds for the whole mesh."""
    return option(
        "--mesh-config", default=None, metavar="FILE", callback=existing_file,
        help="What holds for the whole mesh: Istio's MeshConfig. [default: the ConfigMap istio-system/istio]",
    )  # fmt: skip


def existing_file(_: click.Context, parameter: click.Parameter, written: str | None) -> str | None:
    """A file that must be there now."""
    if written is not None and not Path(written).is_file():
        raise click.BadParameter(f"there is no file {written}", param=parameter)
    return written


def deployments(default: str = "dns") -> Callable[[F], F]:
    """`--deployments`, for whoever has Deployments and no pods."""
    return option(
        "--deployments", type=click.Choice(["dns", "ignore"]), default=default,
        help="Where a Service has neither pods nor slices: a Deployment's name is a host name (docker compose), or not.",
    )  # fmt: skip


def logs(level: str = "info") -> Callable[[F], F]:
    """`--log-level` and `--log-format`, for what runs for long."""
    chosen = option(
        "--log-level", type=click.Choice(journal.LEVELS), default=level, help="What is logged, from here on."
    )
    form = option(
        "--log-format",
        type=click.Choice(journal.FORMATS),
        default="text",
        help="Lines for people, or a JSON object each.",
    )
    return lambda command: chosen(form(command))


def otlp() -> Callable[[F], F]:
    """`--otlp`, for who traces."""
    return option(
        "--otlp", "traces", default=None, metavar="URL", callback=_traces,
        help="Send a trace of every change to this collector: OTLP, JSON over HTTP. Needs the extra legation[otel].",
    )  # fmt: skip


def _traces(_: click.Context, parameter: click.Parameter, written: str | None) -> Traces | None:
    if written is None:
        return None
    from legation.traces import NoTraces, Traces  # noqa: PLC0415 - hardly anybody has one

    try:
        return Traces(written)
    except NoTraces as error:
        raise click.BadParameter(str(error), param=parameter) from None


def existing(written: tuple[str, ...]) -> tuple[str, ...]:
    """Directories and files that must be there now. Raises click.BadParameter for one that is not."""
    for path in written:
        if path != "-" and not Path(path).exists():
            raise click.BadParameter(f"there is no {path}")
    return written
