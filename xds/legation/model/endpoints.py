"""Endpoints: where the requests to a service's port really go, from whichever documents say so.

Sources: Istio's ServiceEntry and WorkloadEntry references; Kubernetes' EndpointSlice, Endpoints and Pod.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from legation.model import hosts, index, services
from legation.model.meta import Key, Object
from legation.model.proxy import NOWHERE, TOPOLOGY, Labels, Locality, labels, topology
from legation.model.recall import Reader
from legation.model.services import Resolution, Service, ServicePort


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address behind a port. `weight` is relative to the others, at least 1.

    `account` is the service account that it runs under, of the namespace of `origin`; "" if nobody says.
    """

    address: str
    port: int
    labels: Labels = ()
    locality: Locality = NOWHERE
    weight: int = 1
    healthy: bool = True
    origin: Key | None = None
    account: str = ""

    @property
    def is_socket(self) -> bool:
        """Whether it is a Unix socket, whose port means nothing."""
        return self.address.startswith("unix://")

    def has(self, wanted: Labels) -> bool:
        """Whether it carries all of these labels."""
        if not wanted:
            return True
        mine = self.all_labels if self.locality != NOWHERE else dict(self.labels)
        return all(mine.get(key) == value for key, value in wanted)

    @property
    def all_labels(self) -> Mapping[str, str]:
        """Its labels, and those that say where it runs."""
        return {**dict(self.labels), **topology(self.locality)}


def endpoints(reader: Reader, host: str, namespace: str, port: int) -> tuple[Endpoint, ...]:
    """The endpoints of a port of the service that a namespace defines (a unit), in a stable order; an address and port
    appear once.
    """
    service = reader.ask(services.definition, host, namespace)
    of_port = service.port(port) if service else None
    if service is None or of_port is None:
        return ()
    if service.origins[0].kind == "Service":
        found = list(_of_kubernetes(reader, service, of_port))
    else:
        found = list(_of_entries(reader, service, of_port))
    if service.resolution is Resolution.ONE_NAME:
        found = found[:1]  # the oldest's: Envoy takes one
    unique = {(endpoint.address, endpoint.port): endpoint for endpoint in reversed(found)}
    return tuple(
        sorted(unique.values(), key=lambda endpoint: (str(endpoint.locality), endpoint.address, endpoint.port))
    )


def found_by_dns(reader: Reader, service: Service, port: int) -> bool:
    """Whether a port's endpoints are found by DNS: the service says so, or one of them has a name for an address."""
    if service.resolution is Resolution.DNS:
        return True
    found = reader.ask(endpoints, service.host, service.namespace, port)
    return any(not hosts.is_ip(endpoint.address) and not endpoint.is_socket for endpoint in found)


def _of_kubernetes(reader: Reader, service: Service, port: ServicePort) -> Iterator[Endpoint]:
    """Slices if there are any, else what the selector selects; WorkloadEntries beside either."""
    if service.stands_for:
        number = port.target if isinstance(port.target, int) else port.number
        yield Endpoint(service.stands_for, number, origin=service.origins[0])
        return
    slices = reader.get("slice", (service.namespace, service.name))
    selected = _selected(reader, service.namespace, service.selector)
    for item in slices:
        yield from (
            _of_slice(reader, item, port) if item.key.kind == "EndpointSlice" else _of_list(reader, item, service, port)
        )
    for item in selected:
        if item.key.kind == "WorkloadEntry":
            yield from _of_workload_entry(item, port, port.target, service)
    pods = [item for item in selected if item.key.kind == "Pod"]
    if slices:
        return
    for item in pods:
        yield from _of_pod(reader, item, port, service.publishes_unready)
    if reader.mesh.deployments_are_hosts:
        for item in deployments(reader, service):
            yield from _of_deployment(item, port)


def deployments(reader: Reader, service: Service) -> list[Object]:
    """The Deployments behind a Kubernetes Service for whose replicas nothing else speaks."""
    if service.origins[0].kind != "Service" or reader.get("slice", (service.namespace, service.name)):
        return []
    selected = _selected(reader, service.namespace, service.selector)
    if any(item.key.kind == "Pod" for item in selected):
        return []
    return [item for item in selected if item.key.kind in index.WORKLOADS and item.spec.spec.replicas != 0]


def _of_entries(reader: Reader, service: Service, port: ServicePort) -> Iterator[Endpoint]:
    """The endpoints that are written in ServiceEntries, the workloads that they select, or the host itself."""
    any_written = False
    for entry in services.service_entries(reader, service):
        written = next((mine for mine in entry.spec.ports if mine.number == port.number), None)
        if written is None:
            continue
        for endpoint in entry.spec.endpoints or ():
            any_written = True
            if not endpoint.address:
                continue  # behind a gateway of another network, of which we know nothing
            number = (endpoint.ports or {}).get(written.name) or written.target_port or written.number
            yield _entry(endpoint, number, {}, entry.key)
        if entry.spec.workload_selector is not None:
            any_written = True
            selector = tuple(sorted((entry.spec.workload_selector.labels or {}).items()))
            for item in _selected(reader, service.namespace, selector):
                if item.key.kind == "WorkloadEntry":
                    yield from _of_workload_entry(item, port, port.target, service)
                elif item.key.kind == "Pod":
                    yield from _of_pod(reader, item, port)
    if not any_written and service.resolution in (Resolution.DNS, Resolution.ONE_NAME):
        number = port.target if isinstance(port.target, int) else port.number
        yield Endpoint(service.host, number, origin=service.origins[0])


def _selected(reader: Reader, namespace: str, selector: tuple[tuple[str, str], ...]) -> list[Object]:
    """The workloads that have all labels of a selector; none for an empty one.

    Only one label is looked up, the one that is likely to tell services apart, so that a change of other workloads of
    the namespace is not this service's business.
    """
    if not selector:
        return []
    wanted = dict(selector)
    key = index.telling(wanted)
    found = reader.get("workload", (namespace, key, wanted[key]))
    return [item for item in found if wanted.items() <= index.workload_labels(item).items()]


def _of_slice(reader: Reader, item: Object, port: ServicePort) -> Iterator[Endpoint]:
    piece = item.spec
    number = next((mine.port for mine in piece.ports or () if (mine.name or "") == port.name), None)
    if number is None or piece.address_type == "FQDN":
        return
    for endpoint in piece.endpoints or ():
        conditions = endpoint.conditions
        ready = conditions is None or conditions.ready is not False
        if not ready and conditions is not None and conditions.terminating:
            continue
        pod = _pod(reader, item.key.namespace, endpoint.target_ref)
        of_pod = labels(pod.meta.labels) if pod is not None else ()
        account = _account(pod) if pod is not None else ""
        place = _place(reader, pod, endpoint.node_name) or Locality(zone=endpoint.zone or "")
        for address in endpoint.addresses:
            yield Endpoint(address, number, of_pod, place, 1, ready, item.key, account)


def _of_list(reader: Reader, item: Object, service: Service, port: ServicePort) -> Iterator[Endpoint]:
    """Kubernetes' older Endpoints."""
    for subset in item.spec.subsets or ():
        number = next((mine.port for mine in subset.ports or () if (mine.name or "") == port.name), None)
        if number is None:
            continue
        unready = service.publishes_unready
        for addresses, ready in ((subset.addresses or (), True), (subset.not_ready_addresses or (), unready)):
            for address in addresses:
                pod = _pod(reader, item.key.namespace, address.target_ref)
                of_pod = labels(pod.meta.labels) if pod is not None else ()
                account = _account(pod) if pod is not None else ""
                place = _place(reader, pod, address.node_name) or Locality()
                yield Endpoint(address.ip, number, of_pod, place, 1, ready, item.key, account)


def _pod(reader: Reader, namespace: str, reference: Any) -> Object | None:
    if reference is None or reference.kind != "Pod" or not reference.name:
        return None
    return next(iter(reader.get("Pod", (namespace, reference.name))), None)


def _place(reader: Reader, pod: Object | None, node: str | None) -> Locality | None:
    """Where an endpoint runs: as its Pod's label says, else where its node is; None if nobody says."""
    written = pod.meta.labels.get("istio-locality") if pod is not None else None
    if written:
        return Locality.parse(written.replace(".", "/"))
    name = node or (pod.spec.spec.node_name if pod is not None else "")
    for item in reader.get("Node", ("", name)) if name else ():
        found = Locality(*(item.meta.labels.get(key, "") for key in TOPOLOGY))
        return found if str(found) else None
    return None


def _of_pod(reader: Reader, item: Object, port: ServicePort, publishes_unready: bool = False) -> Iterator[Endpoint]:
    status = item.spec.status
    if status is None or not status.pod_ip or status.phase in ("Succeeded", "Failed"):
        return
    number = container_port(item.spec.spec, port)
    ready = not any(condition.type == "Ready" and condition.status == "False" for condition in status.conditions)
    if number is not None:
        place = _place(reader, item, None) or Locality()
        healthy = ready or publishes_unready
        yield Endpoint(status.pod_ip, number, labels(item.meta.labels), place, 1, healthy, item.key, _account(item))


def _of_deployment(item: Object, port: ServicePort) -> Iterator[Endpoint]:
    template = item.spec.spec.template
    number = container_port(template.spec, port)
    if number is not None:
        account = template.spec.service_account_name
        yield Endpoint(item.key.name, number, labels(template.metadata.labels or {}), origin=item.key, account=account)


def _account(pod: Object) -> str:
    return str(pod.spec.spec.service_account_name)


def container_port(pod: Any, port: ServicePort) -> int | None:
    """The workload's port behind a service's: a number as it is, a name by the containers' ports."""
    if isinstance(port.target, int):
        return port.target
    named = (mine for mine in pod.ports if mine.name == port.target and mine.protocol == "TCP")
    return next((mine.container_port for mine in named), None)


def _of_workload_entry(
    item: Object, port: ServicePort, target: int | str | None, service: Service
) -> Iterator[Endpoint]:
    """A WorkloadEntry behind a service: its own port of the target's name (of its number, as `run` writes it for its
    stand-ins); else its own port of the service's port name, else the target itself.
    """
    number = entry_port(item.spec.ports or {}, port, target)
    if number is not None and item.spec.address:
        yield _entry(item.spec, number, item.meta.labels, item.key)


def entry_port(own: Mapping[str, int], port: ServicePort, target: int | str | None) -> int | None:
    """The port of a WorkloadEntry with these `ports` behind a service's."""
    named = own.get(str(target)) if target is not None else None
    return named or own.get(port.name) or (target if isinstance(target, int) else None)


def _entry(spec: Any, number: int, extra: Mapping[str, str], origin: Key) -> Endpoint:
    own = {**(spec.labels or {}), **extra}
    written = spec.locality or own.get("istio-locality", "").replace(".", "/")
    place = Locality.parse(written)
    return Endpoint(
        spec.address or "", number, labels(own), place, spec.weight or 1, True, origin, spec.service_account
    )
