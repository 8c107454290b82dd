"""What a server is told, whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from legation.hooks import Hook
from legation.model.world import Mesh
from legation.traces import Traces
from legation.transport.secure import Secure


@dataclass(frozen=True, slots=True)
class Settings:
    """What `serve` and `run` are told. `state` None: accepted versions are not kept; Secrets are only with
    `keep_secrets`. Keys are sent over Unix sockets and over TLS (`secure`); with `secrets_on_loopback` there too. Addresses
    as in `Server.bind`.
    """

    roots: tuple[str, ...]
    xds: tuple[str, ...] = ("127.0.0.1:15010",)
    http: tuple[str, int] | None = ("127.0.0.1", 15014)
    state: Path | None = None
    keep_secrets: bool = False
    mesh: Mesh = Mesh()
    allow_empty: bool = False
    follow_outside: bool = False
    ignore_security_kinds: bool = False
    poll: float | None = None
    drain: float = 2.0
    secrets_on_loopback: bool = False
    secure: Secure | None = None
    mesh_config: str | None = None
    hook: Hook | None = None
    traces: Traces | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Everything that is read and watched: the roots, and the file of the mesh's configuration."""
        return (*self.roots, self.mesh_config) if self.mesh_config is not None else self.roots
