"""`legation certs`: an authority and certificates, for people who have none."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from legation.cli.flags import option
from legation.local import authority
from legation.local.authority import Purpose
from legation.model import access
from legation.model.values import fault_of_host, is_ip, is_label


@click.group()
def certs() -> None:
    """Make an authority, and certificates for the server and for proxies."""


@certs.command()
@click.argument("directory", type=click.Path(path_type=Path))
@option("--trust-domain", default="cluster.local", help="The mesh's trust domain.")
@option("--days", type=click.IntRange(1, 36500), default=authority.AUTHORITY_DAYS, help="How long it holds.")
@click.option("--force", is_flag=True, help="Replace an authority that is there.")
def init(directory: Path, trust_domain: str, days: int, force: bool) -> None:
    """Make an authority in DIRECTORY: ca.crt, and ca.key, which never leaves it."""
    if fault := fault_of_host(trust_domain, wildcard=False):
        raise click.UsageError(f"the trust domain {trust_domain!r} {fault}")
    try:
        authority.initialise(directory, trust_domain.lower(), days, force=force)
    except OSError as error:
        _fail(error)
    click.echo(f"{directory}/ca.crt, {directory}/ca.key: the authority of {trust_domain.lower()}")


@certs.command()
@option("--ca", type=click.Path(path_type=Path), required=True, help="The authority's directory.")
@option("--name", required=True, help="Whose it is: a service account, or the server's host name.")
@option("--namespace", default="default", help="Its namespace.")
@option("--role", type=click.Choice(["sidecar", "gateway", "admin", "server"]), default="sidecar", help="What it is.")
@option("--dns", multiple=True, help="A further host name.")
@option("--ip", multiple=True, help="An IP address.")
@option("--days", type=click.IntRange(1, 36500), default=authority.DAYS, help="How long it holds.")
@option("--out", type=click.Path(path_type=Path), required=True, help="Where to put tls.crt, tls.key and ca.crt.")
@click.option("--force", is_flag=True, help="Replace what is there: the way to renew.")
def issue(
    ca: Path, name: str, namespace: str, role: str, dns: tuple[str, ...], ip: tuple[str, ...], days: int, out: Path,
    force: bool,
) -> None:  # fmt: skip
    """Make a certificate for the server, a proxy or an administrator."""
    for host in dns + ((name,) if role == "server" else ()):
        if fault := fault_of_host(host, wildcard=False):
            raise click.UsageError(f"the host name {host!r} {fault}")
    for address in ip:
        if not is_ip(address):
            raise click.UsageError(f"{address!r} is not an IP address")
    if role != "server" and not (is_label(name) and is_label(namespace)):
        raise click.UsageError("--name and --namespace are letters, digits and '-'")
    try:
        signer = authority.read(ca)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{ca} is no authority: {error}; `legation certs init {ca}` makes one") from None
    identity = access.service_account(signer.trust_domain or "cluster.local", namespace.lower(), name.lower())
    purpose = Purpose.SERVER if role == "server" else Purpose.CLIENT
    names = [name if purpose is Purpose.SERVER else identity, *dns, *ip]
    try:
        until = authority.issue(signer, out, purpose, names, days, force=force)
    except OSError as error:
        _fail(error)
    click.echo(f"{out}/tls.crt, {out}/tls.key, {out}/ca.crt: {', '.join(names)}, until {until:%Y-%m-%d}")
    entry = {
        "gateway": f"proxies:\n- identity: {identity}\n  roles: [gateway]",
        "admin": f"administrators:\n- {identity}",
    }.get(role)
    if entry is not None:
        click.echo(f"it becomes that by an entry in the policy file (legation serve --policy FILE):\n\n{entry}")


def _fail(error: OSError) -> None:
    click.echo(str(error), err=True)
    sys.exit(1)
