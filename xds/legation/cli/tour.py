"""What `run` says when everything stands: what is here, what to ask it, which file to edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import click

from legation.app import App
from legation.local.certificates import StandInCertificates
from legation.model import hosts, index, servers, services, sidecars
from legation.model.meta import Object
from legation.model.proxy import Labels, Role
from legation.model.recall import Recall
from legation.model.servers import Handling
from legation.model.sidecars import Viewer
from legation.names import MESH_GATEWAY

MOST = 8
"""How many requests are proposed for each proxy."""


class Proxy(Protocol):
    """A proxy that runs here."""

    role: Role
    name: str
    namespace: str
    bind: str
    labels: Labels

    def real(self, port: int) -> int:
        """Where a written port is."""


def introduction(
    app: App, proxies: Sequence[Any], stand_ins: dict[str, int], certificates: StandInCertificates
) -> Iterator[str]:
    """The lines, ready to print."""
    if stand_ins:
        listed = ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in stand_ins.items())
        yield f"stand-ins: {listed}"
    if certificates.summary:
        listed = ", ".join(certificates.summary)
        yield f"certificates: {listed}  (made for this run; ca.crt, client.crt and .key are in {certificates.folder})"
    for proxy in proxies:
        where = f"{proxy.name}.{proxy.namespace}" if proxy.role is Role.SIDECAR else proxy.name
        moved = ", ".join(f"{written} is served on {real}" for written, real in proxy.port_map)
        yield ""
        yield click.style(f"{proxy.role}: {where}", bold=True) + (f"  ({moved})" if moved else "")
        asked = _at_gateway(app, proxy, certificates) if proxy.role is Role.GATEWAY else _beside(app, proxy)
        listed_requests = list(dict.fromkeys(asked))
        yield from (f"  {line}" for line in listed_requests[:MOST])
        if len(listed_requests) > MOST:
            yield f"  … and {len(listed_requests) - MOST} more"
    yield ""
    for path in _files(app):
        yield f"edit {path} and ask again"
    if app.http:
        yield f"see  http://{app.http[0]}:{app.http[1]}/"
    yield f"ask  legation status --server {app.xds[0]}"
    yield "stop with Ctrl-C"


def _at_gateway(app: App, proxy: Any, certificates: StandInCertificates) -> Iterator[str]:
    world = app.admission.world
    for item in _all(app, "VirtualService"):
        for gateway in index.gateways(item):
            found = world.get("Gateway", tuple(gateway.split("/"))) if gateway != MESH_GATEWAY else ()
            mine = found and (found[0].spec.selector or {}).items() <= dict(proxy.labels).items()
            for server in found[0].spec.servers if mine else ():
                for name in _named(item, server):
                    for path in _asked(item, server, name):
                        yield _request(server, name, proxy.real(server.port.number), path, certificates.folder)


def _named(item: Object, server: Any) -> Iterator[str]:
    """A name for every host of a rule that a server has, "" for any."""
    own = [servers.server_host(mine, "").host for mine in server.hosts]
    for host in item.spec.hosts:
        common = [host if hosts.contains(mine, host) else mine for mine in own if _meet(mine, host)]
        if common:
            yield next((name for name in common if not hosts.is_wildcard(name)), "")


def _meet(one: str, other: str) -> bool:
    return hosts.contains(one, other) or hosts.contains(other, one)


def _asked(item: Object, server: Any, name: str) -> Iterator[str]:
    """The paths to ask a server for by the rules of a VirtualService that are for it."""
    match servers.handling(server):
        case Handling.HTTP | Handling.HTTPS:
            yield from _paths(item)
        case Handling.TCP | Handling.TLS if item.spec.tcp:
            yield "/"
        case Handling.PASSTHROUGH if any(name in wanted.sni_hosts for rule in item.spec.tls for wanted in rule.match):
            yield "/"


def _request(server: Any, name: str, port: int, path: str, folder: Path) -> str:
    handling = servers.handling(server)
    if handling.is_plain:
        return curl(name, "127.0.0.1", port, path)
    name = name or "localhost"
    mine = (
        f"--cert {folder}/client.crt --key {folder}/client.key "
        if server.tls.mode in ("MUTUAL", "OPTIONAL_MUTUAL")
        else ""
    )
    return f"curl -s --cacert {folder}/ca.crt {mine}--resolve {name}:{port}:127.0.0.1 https://{name}:{port}{path}"


def _beside(app: App, proxy: Any) -> Iterator[str]:
    recall = Recall(app.admission.world)
    seen_by = Viewer(proxy.namespace, recall.ask(sidecars.governing, proxy.namespace, ()))
    for host in sorted(str(name) for name in app.admission.world.names(hosts.SERVICE)):
        service = recall.ask(services.service, host, seen_by)
        for port in service.ports if service else ():
            if service is not None and port.protocol.is_http:
                same = service.namespace == proxy.namespace
                short = service.name if same else f"{service.name}.{service.namespace}"
                yield curl(short if service.kubernetes else host, proxy.bind, proxy.real(port.number), "/")


def curl(host: str, address: str, port: int, path: str) -> str:
    """A request, ready to paste."""
    header = f"-H 'Host: {host}' " if host else ""
    return f"curl -s {header}http://{address}:{port}{path}"


def _paths(item: Object) -> Iterator[str]:
    """A path for every rule that names one."""
    for rule in item.spec.http or ():
        for match in rule.match or (None,):
            uri = match.uri if match is not None else None
            if uri is None:
                yield "/"
            elif uri.exact or uri.prefix:
                yield uri.exact or uri.prefix


def _all(app: App, kind: str) -> list[Object]:
    return [
        version.object
        for version in app.admission.accepted.values()
        if version.object and version.object.key.kind == kind
    ]


def _files(app: App) -> list[str]:
    """The files with the rules; of those without any, the first."""
    every = {version.document.file: None for version in app.admission.accepted.values()}
    ruling = {
        v.document.file: None
        for v in app.admission.accepted.values()
        if v.object and v.object.key.kind == "VirtualService"
    }
    return list(ruling or every)[:3]
