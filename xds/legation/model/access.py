"""Who may be whom: the policy of the channel. What a client claims counts only as far as its identity goes.

Without an entry an identity is a sidecar in its own namespace and nothing else: labels are claims, so being a gateway is
no default. Entries that name an identity replace that default, so they also narrow it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import Model
from legation.model.mesh_config import TrustDomain
from legation.model.proxy import Channel, Proxy, Role
from legation.model.values import Str, is_label, shown, wrong

ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is, as verified: its SPIFFE ID; or what else its certificate or its token names it."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return self.names[0]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Its own: of `spiffe://…/ns/NS/sa/NAME`, or of the host names `name.NS` and `name.NS.svc…`."""
        found = (_SPIFFE_ACCOUNT.fullmatch(name) or _HOST.fullmatch(name) for name in self.names)
        return tuple(dict.fromkeys(match["namespace"] for match in found if match is not None))

    @property
    def trust_domain(self) -> str:
        """Of its SPIFFE ID; "" if it has none."""
        match = _SPIFFE.fullmatch(self.names[0])
        return match["domain"] if match is not None else ""


_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SPIFFE: Final = re.compile(r"spiffe://(?P<domain>[a-z0-9._-]{1,255})(?:/(?!\.{1,2}(?:/|\Z))[a-zA-Z0-9._-]+)*")
_SPIFFE_ACCOUNT: Final = re.compile(rf"spiffe://[a-z0-9._-]+/ns/(?P<namespace>{_LABEL})/sa/(?P<name>[a-zA-Z0-9._-]+)")
_HOST: Final = re.compile(rf"{_LABEL}\.(?P<namespace>{_LABEL})(?:\.svc(?:\.{_LABEL})*)?")


def is_spiffe(name: str) -> bool:
    """Whether a text is a SPIFFE ID."""
    return len(name) <= 2048 and _SPIFFE.fullmatch(name) is not None


def service_account(trust_domain: str, namespace: str, name: str) -> str:
    """A SPIFFE ID in Istio's form."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{name}"


def account(name: str) -> tuple[str, str] | None:
    """The namespace and name of a SPIFFE ID in Istio's form; None for anything else."""
    match = _SPIFFE_ACCOUNT.fullmatch(name)
    return (match["namespace"], match["name"]) if match is not None else None


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection, as the connection itself shows it. `expires` is when its identity does (epoch)."""

    channel: Channel
    address: str = ""
    identity: Identity | None = None
    expires: float = inf


# --- the policy file ----------------------------------------------------------------------------------------------


def _namespace(text: str) -> str:
    if text != ANY and not is_label(text):
        raise wrong(f'"{shown(text)}" is no namespace', "write its name, or '*' for any")
    return text


def _identity(text: str) -> str:
    if "://" in text and not is_spiffe(text.replace(ANY, "x")):
        raise wrong(f'"{shown(text)}" is no SPIFFE ID', "write spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME")
    return text


def _not_everybody(text: str) -> str:
    if not text.strip("*"):
        raise wrong("whoever has a certificate would be an administrator", "name an identity")
    return text


Pattern = Annotated[Str, Field(min_length=1), AfterValidator(_identity)]
"""A name in which `*` stands for anything but a slash; alone it stands for everything."""


class Grant(Model):
    """What the identities that fit a pattern may be, and nothing else."""

    example = "{identity: spiffe://cluster.local/ns/edge/sa/gateway, roles: [gateway]}"

    identity: Pattern
    """A SPIFFE ID, or the name in a certificate or token; `*` stands for anything but a slash."""
    roles: Annotated[tuple[Literal["sidecar", "gateway"], ...], Field(min_length=1)] = ("sidecar",)
    """What it may be: sidecar, gateway or both; a sidecar if left out."""
    namespaces: tuple[Annotated[Str, AfterValidator(_namespace)], ...] = ()
    """Where; in the identity's own namespace if left out."""
    names: tuple[Annotated[Str, Field(min_length=1)], ...] = ()
    """By which names of nodes, in which `*` may stand; by any if left out."""

    def covers(self, identity: Identity, proxy: Proxy) -> bool:
        """Whether it lets the identity be that proxy."""
        namespaces = self.namespaces or identity.namespaces
        return (
            proxy.role.value in self.roles
            and any(each in (ANY, proxy.namespace) for each in namespaces)
            and (not self.names or any(_fits(pattern, proxy.name) for pattern in self.names))
        )


class AccessPolicy(Model):
    """The policy of the channel: which identity may be which proxy, and who may administer the server."""

    trust_domains: tuple[TrustDomain, ...] = ()
    """The trust domains whose identities count; the mesh's if left out."""
    proxies: tuple[Grant, ...] = ()
    """What identities may be, beyond a sidecar in their own namespace."""
    administrators: tuple[Annotated[Pattern, AfterValidator(_not_everybody)], ...] = ()
    """The identities that may use the admin API."""


def refusal(policy: AccessPolicy, trust_domain: str, identity: Identity, proxy: Proxy) -> str:
    """Why an identity may not be a proxy, and what to write if it should be; "" if it may.

    `trust_domain` is the mesh's.
    """
    if fault := _foreign(policy, trust_domain, identity):
        return fault
    grants = [grant for grant in policy.proxies if _named(grant.identity, identity)] or [_own(identity)]
    if any(grant.covers(identity, proxy) for grant in grants):
        return ""
    entry = f"{{identity: {identity}, roles: [{proxy.role}], namespaces: [{shown(proxy.namespace)}]}}"
    return (
        f"{identity} may not be the {proxy.role} {shown(proxy.name)} in namespace {shown(proxy.namespace)}: "
        f"it may be {'; or '.join(_words(grant, identity) for grant in grants)}; "
        f"if it should be, write under `proxies` in the policy file: {entry}"
    )


def is_administrator(policy: AccessPolicy, trust_domain: str, identity: Identity) -> bool:
    """Whether the policy lists it."""
    listed = any(_named(pattern, identity) for pattern in policy.administrators)
    return listed and not _foreign(policy, trust_domain, identity)


def _foreign(policy: AccessPolicy, trust_domain: str, identity: Identity) -> str:
    known = policy.trust_domains or (trust_domain,)
    if identity.trust_domain in ("", *known):
        return ""
    return f"{identity} is of another trust domain than {' or '.join(known)}; see `trustDomains` in the policy file"


def _own(identity: Identity) -> Grant:
    return Grant(identity=ANY, roles=(Role.SIDECAR.value,), namespaces=identity.namespaces)


def _words(grant: Grant, identity: Identity) -> str:
    namespaces = grant.namespaces or identity.namespaces
    if not namespaces:
        return "nothing, since no namespace follows from its name"
    where = "any namespace" if ANY in namespaces else f"namespace {' or '.join(namespaces)}"
    return f"a {' or '.join(grant.roles)} in {where}" + (f" named {' or '.join(grant.names)}" if grant.names else "")


def _named(pattern: str, identity: Identity) -> bool:
    return any(_fits(pattern, name) for name in identity.names)


def _fits(pattern: str, name: str) -> bool:
    return pattern == ANY or _expression(pattern).fullmatch(name) is not None


@lru_cache(1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(map(re.escape, pattern.split(ANY))))
