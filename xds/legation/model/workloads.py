"""Pods, and the kinds that make them: what of them is called, under which labels, where.

We read what matters to traffic and pass over the rest.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from legation.model.base import EMPTY, Lenient
from legation.model.kubernetes import Transport
from legation.model.values import (
    Count,
    Map,
    PortNumber,
    Str,
)


class ContainerPort(Lenient):
    """A port that a container listens on."""

    container_port: PortNumber
    """The port."""
    name: Str = ""
    """Its name, for `targetPort`."""
    protocol: Transport = "TCP"
    """What it is carried by."""


class Container(Lenient):
    """A container."""

    name: Str = ""
    """Its name."""
    ports: tuple[ContainerPort, ...] = ()
    """The ports that it listens on."""
    restart_policy: Str | None = None
    """`Always` for an init container that runs along."""


class PodSpec(Lenient):
    """What runs in a Pod."""

    containers: tuple[Container, ...] = ()
    """Its containers."""
    init_containers: tuple[Container, ...] = ()
    """Containers before them; some run along."""
    service_account_name: Str = ""
    """The service account that it runs under."""
    node_name: Str = ""
    """The node that it runs on."""

    @property
    def ports(self) -> tuple[ContainerPort, ...]:
        """The ports of all containers that run."""
        along = (container for container in self.init_containers if container.restart_policy == "Always")
        return tuple(port for container in (*self.containers, *along) for port in container.ports)


class PodIP(Lenient):
    """An address of a Pod."""

    ip: Str = ""
    """The address."""


class PodCondition(Lenient):
    """How a Pod is, in one respect."""

    type: Str = ""
    """In which respect."""
    status: Str = ""
    """`True`, `False` or `Unknown`."""


class PodStatus(Lenient):
    """How a Pod is."""

    phase: Str = ""
    """`Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`."""
    pod_ip: Annotated[Str, Field(alias="podIP")] = ""
    """Its address."""
    pod_ips: Annotated[tuple[PodIP, ...], Field(alias="podIPs")] = ()
    """Its addresses."""
    conditions: tuple[PodCondition, ...] = ()
    """How it is, in each respect."""


class Pod(Lenient):
    """A workload that runs, or ran."""

    spec: PodSpec = PodSpec()
    """What runs in it."""
    status: PodStatus = PodStatus()
    """How it is."""


class PodTemplateMeta(Lenient):
    """Metadata of the Pods that are made."""

    labels: Map[Str, Str] = EMPTY
    """Their labels."""
    annotations: Map[Str, Str] = EMPTY
    """Their annotations."""


class PodTemplate(Lenient):
    """The Pods that are made."""

    metadata: PodTemplateMeta = PodTemplateMeta()
    """Their metadata."""
    spec: PodSpec = PodSpec()
    """What runs in them."""


class WorkloadSpec(Lenient):
    """What a workload is."""

    replicas: Count | None = None
    """How many Pods; one if left out."""
    template: PodTemplate = PodTemplate()
    """The Pods that are made."""
    service_name: Str = ""
    """The Service that names the Pods of a StatefulSet."""


class Workload(Lenient):
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet: Pods made from a template."""

    spec: WorkloadSpec = WorkloadSpec()
    """What it is."""
