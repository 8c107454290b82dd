"""What the mesh's configuration says, as questions: a unit that asks one runs again when its answer changes, and not when
another part of the configuration does.
"""

from __future__ import annotations

from typing import Any, Final

from legation.model.mesh_config import FROM_CONFIG_MAP, FROM_FLAG, MeshConfig, OutboundTrafficPolicy
from legation.model.meta import Object
from legation.model.recall import Reader

_DEFAULT: Final = MeshConfig()


def documents(reader: Reader) -> list[Object]:
    """Every MeshConfig, the one that counts first: the command line's, then documents by age, then the ConfigMap's."""
    found = [item for name in reader.names("MeshConfig") for item in reader.get("MeshConfig", name)]
    return sorted(found, key=lambda item: (item.key.name != FROM_FLAG, item.key.name == FROM_CONFIG_MAP, item.age))


def config(reader: Reader) -> MeshConfig:
    """The configuration that counts, whole (a unit)."""
    found = documents(reader)
    chosen: MeshConfig = found[0].spec if found else _DEFAULT
    return chosen


def setting(reader: Reader, name: str) -> Any:
    """One field of it, by its name in Python (a unit): `reader.ask(mesh.setting, "connect_timeout")`."""
    return getattr(reader.ask(config), name)


def proxy_default(reader: Reader, name: str) -> Any:
    """One field of `defaultConfig` (a unit); None where there is none."""
    return getattr(reader.ask(config).default_config, name, None)


def root(reader: Reader) -> str:
    """The namespace whose rules are everyone's."""
    return str(reader.ask(setting, "root_namespace"))


def outbound_mode(reader: Reader) -> str:
    """What becomes of calls to hosts that nobody knows (a unit): ALLOW_ANY, which istiod makes the default,
    REGISTRY_ONLY, which is what an empty policy says, or ALLOW_ANY_DYNAMIC_DNS.
    """
    policy: OutboundTrafficPolicy | None = reader.ask(setting, "outbound_traffic_policy")
    return policy.mode if policy is not None else "ALLOW_ANY"


def exported(reader: Reader, written: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """To whom something is exported that says `written`; `kind` is service, virtual_service or destination_rule."""
    if written:
        return written
    default: tuple[str, ...] = reader.ask(setting, f"default_{kind}_export_to")
    return default
