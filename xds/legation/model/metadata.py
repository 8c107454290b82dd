"""The metadata that documents of every kind have, as it is written. What is left of it in the World is in `meta.py`.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

from legation.model.base import Model
from legation.model.values import Filled, Map, PassedOver, Str, wrong

_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9:]{5})\Z"
)


def _time(text: str) -> str:
    try:
        seconds(text)
    except ValueError:
        raise wrong("this is no point in time", "write it as 2026-01-31T12:00:00Z, in quotes") from None
    return text


def seconds(text: str) -> float:
    """A time in RFC 3339 (`2026-01-31T12:00:00Z`) in seconds since the epoch. Raises ValueError for anything else."""
    found = _TIME.match(text)
    if found is None:
        raise ValueError("no RFC 3339 time")
    zone = "+00:00" if found[4] in "Zz" else found[4]
    whole = datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").astimezone(UTC).timestamp()
    return whole + float(found[3] or 0)


Time = Annotated[Str, AfterValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]


class Metadata(Model):
    """ObjectMeta as it is written. What Kubernetes fills in by itself is known and means nothing here."""

    name: Filled
    """The name, unique in the namespace among objects of the kind."""
    namespace: Str | None = None
    """The namespace; `default` if left out."""
    labels: Map[Str, Str] | None = None
    """Labels, for selectors."""
    annotations: Map[Str, Str] | None = None
    """Annotations."""
    creation_timestamp: Time | None = None
    """When it was made: where two objects meet, the older one wins."""
    generate_name: PassedOver = None
    generation: PassedOver = None
    uid: PassedOver = None
    resource_version: PassedOver = None
    self_link: PassedOver = None
    deletion_timestamp: PassedOver = None
    deletion_grace_period_seconds: PassedOver = None
    owner_references: PassedOver = None
    finalizers: PassedOver = None
    managed_fields: PassedOver = None
    cluster_name: PassedOver = None
