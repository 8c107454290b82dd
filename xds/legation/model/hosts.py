"""Host names: short ones, wildcards, and which of several is meant.

Sources: Istio's VirtualService reference ("short names"), and the order of Envoy's domain search.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable

SERVICE = "service"
"""The table of hosts that a Service or a ServiceEntry defines."""


def is_wildcard(host: str) -> bool:
    """`*`, `*.example.com` or `*-x.example.com`."""
    return host.startswith("*")


_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}", re.ASCII)


def is_ip(host: str) -> bool:
    """An IPv4 or IPv6 address, without a port or brackets."""
    if ":" not in host:
        return _IPV4.fullmatch(host) is not None  # asked about every endpoint, and an exception is slow
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """An IP address that means the very machine, or network namespace, of whoever asks."""
    return host.startswith("127.") or (":" in host and is_ip(host) and ipaddress.ip_address(host).is_loopback)


def address(text: str) -> str:
    """An IP address as everyone writes it, also one that is written as a block of one; any other text as it is."""
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        return text
    return str(found.ip) if found.network.prefixlen == found.max_prefixlen else text


def contains(pattern: str, host: str) -> bool:
    """Whether every name that `host` stands for is one that `pattern` stands for.

    As in Istio, `*` is a prefix of any text: `*foo.com` contains `barfoo.com`, and `*.foo.com` does not contain `foo.com`.
    """
    if not is_wildcard(pattern):
        return pattern == host
    suffix = pattern[1:]
    if is_wildcard(host):
        return host[1:].endswith(suffix)
    return host.endswith(suffix) and (host != suffix)


def most_specific(patterns: Iterable[str], host: str) -> str | None:
    """The longest pattern that contains the host: an exact one before any wildcard."""
    fitting = (pattern for pattern in patterns if contains(pattern, host))
    return max(fitting, key=lambda pattern: (not is_wildcard(pattern), len(pattern), pattern), default=None)


def readings(name: str, namespace: str, domain: str) -> tuple[str, ...]:
    """What a written host may mean, Istio's reading first.

    A name without dots is a service of the document's namespace, else itself. `name.namespace` is itself to Istio; here
    it is that service too, if only that is known.
    """
    name = name.lower()
    if is_wildcard(name) or is_ip(name):
        return (name,)
    dots = name.count(".")
    if dots == 0:
        return (f"{name}.{namespace}.svc.{domain}", name)
    if dots == 1:
        return (name, f"{name}.svc.{domain}")
    return (name,)


def resolve_at_gateway(name: str, namespace: str, domain: str) -> str:
    """The host that a rule at a gateway means: `app.dev` is a domain there, and nothing is looked up."""
    return readings(name, namespace, domain)[0]


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that someone who wrote `name` probably meant."""
    alike = [other for other in known if abs(len(other) - len(name)) <= 2 and other[:1] == name[:1]]
    found = difflib.get_close_matches(name, alike[:500], n=1, cutoff=0.8)
    return found[0] if found else None
