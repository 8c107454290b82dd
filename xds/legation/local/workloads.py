"""The workloads that nobody runs here: what would have to listen on this machine, and the stand-ins that do.

A Deployment is one stand-in per replica, on a free loopback port; the World learns of it as of a WorkloadEntry. An
endpoint on loopback that is written in a document, and on which nobody listens, is a stand-in on that very port.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from legation.local.stand_in import StandIn, Workload
from legation.model import endpoints, hosts, index, protocols, services
from legation.model.meta import Key, Object, ObjectMeta
from legation.model.proxy import Labels, labels
from legation.model.recall import Reader, Recall
from legation.model.workload_entry import WorkloadEntry
from legation.model.world import World


@dataclass(frozen=True, slots=True)
class Wanted:
    """One listener that should be there: a replica of a workload, on one of its ports.

    `address` is where the documents say that it listens, or None for a replica of a Deployment, which may listen anywhere;
    `target` is then what services call its port: its number or its name. `tls`: that is what it speaks.
    """

    namespace: str
    workload: str
    replica: int
    port: int
    labels: Labels
    address: str | None = None
    target: str = ""
    tls: bool = False


def wanted(world: World) -> frozenset[Wanted]:
    """Every listener that the documents speak of and that would have to be on this machine."""
    return Recall(world).ask(_wanted)


def _wanted(reader: Reader) -> frozenset[Wanted]:
    return frozenset(item for host in reader.names(hosts.SERVICE) for item in _behind(reader, str(host)))


def _behind(reader: Reader, host: str) -> Iterator[Wanted]:
    for service in services.definitions(reader, host):
        yield from _of_service(reader, service)


def _of_service(reader: Reader, service: services.Service) -> Iterator[Wanted]:
    for port in service.ports:
        for item in endpoints.deployments(reader, service):
            number = endpoints.container_port(item.spec.spec.template.spec, port)
            replicas = 1 if item.spec.spec.replicas is None else item.spec.spec.replicas
            for replica in range(replicas if number is not None else 0):
                yield Wanted(
                    item.key.namespace, item.key.name, replica + 1, number or 0, labels(index.workload_labels(item)),
                    target=str(port.target), tls=_speaks_tls(port),
                )  # fmt: skip
        for endpoint in reader.ask(endpoints.endpoints, service.host, service.namespace, port.number):
            if endpoint.origin is not None and endpoint.origin.name.startswith(PREFIX):
                continue
            if hosts.is_ip(endpoint.address) and endpoint.address.startswith("127."):
                name = dict(endpoint.labels).get("app") or service.name
                version = dict(endpoint.labels).get("version")
                name = f"{name}-{version}" if version else name
                yield Wanted(
                    service.namespace, name, 1, endpoint.port, endpoint.labels, endpoint.address, tls=_speaks_tls(port)
                )


def _speaks_tls(port: services.ServicePort) -> bool:
    return port.protocol in (protocols.Protocol.HTTPS, protocols.Protocol.TLS)


def of_gateways(world: World, running: Mapping[Labels, Callable[[int], int]]) -> list[Object]:
    """The gateways that run here, by their labels, as endpoints of the Services that select them; each says where a
    written port really is.
    """
    found: list[Object] = []
    for item in (item for name in world.names("Service") for item in world.get("Service", name)):
        selector = item.spec.spec.selector.items()
        for place, (own, real) in enumerate(running.items()):
            if selector and selector <= dict(own).items():
                ports = {str(port.target_port or port.port): real(port.port) for port in item.spec.spec.ports}
                name = f"{PREFIX}gateway/{place}/{item.key.name}"
                found.append(_workload(Key("WorkloadEntry", item.key.namespace, name), ports, dict(own)))
    return found


PREFIX = "stand-in/"
"""What the names of our WorkloadEntries begin with; no document can have such a name."""


LEAVING = 1.0
"""Seconds for which a replica that is no longer wanted goes on answering: a proxy may not know yet that it is gone."""


class StandIns:
    """The stand-ins that run, kept to what is wanted."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is for those that speak it."""
        self._tls = tls
        self._running: dict[Wanted, StandIn] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def follow(self, world: World) -> tuple[list[Object], list[Key]]:
        """Starts what is wanted and missing, ends what is no longer wanted; the WorkloadEntries to add and remove."""
        now = wanted(world)
        removed = [_entry(item, 0).key for item in self._running if item not in now and item.address is None]
        for item in [item for item in self._running if item not in now]:
            running = self._running.pop(item)
            if item.address is None:
                leaving = asyncio.create_task(_leave(running))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
            else:
                await running.stop()  # at once: another one may want its very port
        added: list[Object] = []
        for item in sorted(now - self._running.keys(), key=repr):
            with contextlib.suppress(OSError):  # somebody else serves there
                identity = Workload(item.workload, dict(item.labels))
                listening = await StandIn.start(
                    identity, item.address or "127.0.0.1", item.port if item.address else 0, item.port,
                    self._tls if item.tls else None,
                )  # fmt: skip
                self._running[item] = listening
                if item.address is None:
                    added.append(_entry(item, listening.port))
        return added, removed

    async def stop(self) -> None:
        """Stops all of them."""
        for leaving in self._leaving:
            leaving.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await asyncio.gather(*(running.stop() for running in self._running.values()))
        self._running.clear()

    def summary(self) -> dict[str, int]:
        """How many replicas stand in for each workload."""
        replicas = {(item.namespace, item.workload, item.replica) for item in self._running}
        found: dict[str, int] = {}
        for _, workload, _ in sorted(replicas):
            found[workload] = found.get(workload, 0) + 1
        return found


async def _leave(running: StandIn) -> None:
    try:
        await asyncio.sleep(LEAVING)
    finally:
        await running.stop()


def _entry(item: Wanted, port: int) -> Object:
    """A replica's port as a WorkloadEntry; its one entry in `ports` is by what services call it."""
    name = f"{PREFIX}{item.workload}/{item.replica}/{item.target}"
    return _workload(Key("WorkloadEntry", item.namespace, name), {item.target: port}, dict(item.labels))


def _workload(key: Key, ports: dict[str, int], own: dict[str, str]) -> Object:
    """Something that listens on this machine."""
    spec: Any = WorkloadEntry.model_construct(address="127.0.0.1", ports=ports, labels=own, locality="", weight=1)
    return Object(key, ObjectMeta(), spec)


def is_free(address: str, port: int) -> bool:
    """Whether a proxy could listen there now."""
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_port(address: str) -> int:
    """A port that nobody listens on."""
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
