"""What the certificate behind a service must be for: the names that its documents give it, and the service accounts that
its endpoints run under, in every trust domain of the mesh.

Source: istiod's service accounts of a service, and how it expands them by `trustDomainAliases`.
"""

from __future__ import annotations

from legation.model import access, endpoints, mesh, services
from legation.model.recall import Reader
from legation.model.services import Resolution


def accounts(reader: Reader, host: str, namespace: str) -> tuple[tuple[str, str], ...]:
    """The accounts of all endpoints of the service that a namespace defines (a unit), as namespaces and names, sorted.

    A unit of its own, so that a cluster is made again when these change, not whenever an endpoint comes or goes.
    """
    service = reader.ask(services.definition, host, namespace)
    if service is None or service.resolution is Resolution.ALIAS:
        return ()
    found = {
        (endpoint.origin.namespace, endpoint.account)
        for port in service.ports
        for endpoint in reader.ask(endpoints.endpoints, host, namespace, port.number)
        if endpoint.account and endpoint.origin is not None
    }
    return tuple(sorted(found))


def subject_alt_names(reader: Reader, host: str, namespace: str) -> tuple[str, ...]:
    """The names, one of which a service's certificate must have (a unit); none if nobody says any."""
    service = reader.ask(services.definition, host, namespace)
    written = service.subject_alt_names if service is not None else ()
    domain = reader.ask(mesh.setting, "trust_domain")
    found = dict.fromkeys(written)
    for where, name in reader.ask(accounts, host, namespace):
        found[access.service_account(domain, where, name)] = None
    aliases: tuple[str, ...] = reader.ask(mesh.setting, "trust_domain_aliases")
    return tuple(dict.fromkeys(name for one in found for name in (one, *_elsewhere(one, aliases))))


def _elsewhere(name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    """The same account in other trust domains; nothing for what is no account."""
    account = access.account(name)
    return tuple(access.service_account(alias, *account) for alias in aliases) if account is not None else ()
