"""Pods, and the kinds that make them: what of them is called, under which labels, where.

We read what matters to traffic and pass over the rest.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from legation.model.base import EMPTY, Lenient
from legation.model.kubernetes import Transport
from legation.model.values import (
    Count,
    Map,
    PortNumber,
    Str,
    is_ip,
    shown,
    wrong,
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

    ports: tuple[ContainerPort, ...] = ()
    """The ports that it listens on."""


class InitContainer(Container):
    """A container that runs before the others."""

    restart_policy: Str | None = None
    """`Always` if it runs along."""


class TemplateSpec(Lenient):
    """What runs in the Pods that are made."""

    containers: tuple[Container, ...] = ()
    """Its containers."""
    init_containers: tuple[InitContainer, ...] = ()
    """Containers before them; some run along."""
    service_account_name: Str = ""
    """The service account that they run under."""

    @property
    def ports(self) -> tuple[ContainerPort, ...]:
        """The ports of all containers that run."""
        along = (container for container in self.init_containers if container.restart_policy == "Always")
        return tuple(port for container in (*self.containers, *along) for port in container.ports)


class PodSpec(TemplateSpec):
    """What runs in a Pod."""

    node_name: Str = ""
    """The node that it runs on."""


def _address(text: str) -> str:
    if text and not is_ip(text):
        raise wrong(f'"{shown(text)}" is no IP address', "write an address such as 10.0.0.7 or ::1")
    return text


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
    pod_ip: Annotated[Str, AfterValidator(_address), Field(alias="podIP")] = ""
    """Its address."""
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


class PodTemplate(Lenient):
    """The Pods that are made."""

    metadata: PodTemplateMeta = PodTemplateMeta()
    """Their metadata."""
    spec: TemplateSpec = TemplateSpec()
    """What runs in them."""


class WorkloadSpec(Lenient):
    """What a workload is."""

    replicas: Count | None = None
    """How many Pods; one if left out."""
    template: PodTemplate = PodTemplate()
    """The Pods that are made."""


class Workload(Lenient):
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet: Pods made from a template."""

    spec: WorkloadSpec = WorkloadSpec()
    """What it is."""
