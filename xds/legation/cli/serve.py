"""`legation serve`: the server."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from pathlib import Path

import click

from legation import journal
from legation.app import App, Refused
from legation.cli import interrupts
from legation.cli.flags import option, paint
from legation.cli.options import (
    address,
    deployments,
    existing,
    hooks,
    is_local,
    logs,
    mesh,
    mesh_config,
    otlp,
    seconds,
    xds_addresses,
)
from legation.cli.secure import secured
from legation.hooks import Hook
from legation.ingest import state
from legation.settings import Settings
from legation.traces import Traces
from legation.transport.fresh import Unfit
from legation.transport.secure import Secure


@click.command()
@click.argument("directories", nargs=-1, required=True)
@option(
    "--xds",
    multiple=True,
    callback=xds_addresses,
    default=("127.0.0.1:15010",),
    help="Where proxies connect without TLS, HOST:PORT or unix:PATH, or none.",
)
@secured()
@option("--http", callback=address, default="127.0.0.1:15014", help="Health, metrics and the page, HOST:PORT or none.")
@option("--state-dir", default=None, help="Where accepted versions are kept, or none. [default: below XDG_STATE_HOME]")
@option("--allow-empty", is_flag=True, help="An empty directory is meant.")
@option("--ignore-security-kinds", is_flag=True, help="Start although a document that protects is not in force.")
@option("--insecure-any-address", is_flag=True, help="Allow plaintext xDS and HTTP beyond loopback.")
@option(
    "--secrets-on-loopback", is_flag=True, help="Send keys over plaintext TCP on loopback, not over Unix sockets only."
)
@option("--follow-outside", is_flag=True, help="Follow symbolic links that lead out of their directory.")
@option(
    "--poll",
    type=float,
    callback=seconds,
    default=None,
    help="Look at the files every so many seconds instead of being told.",
)
@mesh_config()
@hooks()
@deployments()
@logs()
@otlp()
def serve(
    directories: tuple[str, ...],
    xds: tuple[str, ...],
    secure: Secure | None,
    http: tuple[str, int] | None,
    state_dir: str | None,
    allow_empty: bool,
    ignore_security_kinds: bool,
    insecure_any_address: bool,
    secrets_on_loopback: bool,
    follow_outside: bool,
    poll: float | None,
    mesh_config: str | None,
    hooks: Hook | None,
    deployments: str,
    log_level: str,
    log_format: str,
    traces: Traces | None,
) -> None:
    """Serve the YAML in DIRECTORIES to Envoys, and every change of it."""
    if not insecure_any_address:
        for listening in [*xds, *([f"{http[0]}:{http[1]}"] if http else [])]:
            if not is_local(listening):
                raise click.UsageError(
                    f"{listening} is plaintext beyond loopback; say --insecure-any-address if it is meant"
                )
    if not xds and secure is None:
        raise click.UsageError("with --xds none there is no port for proxies; see --tls-cert")
    journal.begin(log_level, log_format)
    _allow_many_connections()
    settings = Settings(
        roots=existing(directories),
        xds=xds,
        secure=secure,
        http=http,
        state=kept_in(state_dir, directories),
        keep_secrets=state_dir is not None,
        mesh=mesh(deployments),
        allow_empty=allow_empty,
        follow_outside=follow_outside,
        ignore_security_kinds=ignore_security_kinds,
        poll=poll,
        mesh_config=mesh_config,
        secrets_on_loopback=secrets_on_loopback,
        hook=hooks,
        traces=traces,
    )
    try:
        asyncio.run(_serve(settings))
    except Refused as refused:
        for problem in refused.problems:
            click.echo(paint(problem), err=True)
        click.echo("not started: a document that protects cannot be put in force", err=True)
        sys.exit(1)
    except (OSError, state.StateError, Unfit) as error:
        click.echo(f"not started: {error}", err=True)
        sys.exit(1)


def _allow_many_connections() -> None:
    """As many files as this user may open: a connection is one, and a shell's usual bound is a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def kept_in(written: str | None, directories: tuple[str, ...]) -> Path | None:
    """`--state-dir`: a directory, `none`, or the one that is the same for the same DIRECTORIES, if there is a home."""
    if written is not None:
        return None if written == "none" else Path(written)
    try:
        return state.default_directory(directories)
    except state.StateUnavailable as error:
        click.echo(paint(error.problem), err=True)
        return None


async def _serve(settings: Settings) -> None:
    interrupts.cancel_when_asked()
    with contextlib.suppress(asyncio.CancelledError):
        async with App(settings) as app:
            served = len(app.admission.accepted)
            console = f", http://{app.http[0]}:{app.http[1]}" if app.http else ""
            ports = ", ".join([*app.xds, *(f"{address} (TLS)" for address in app.xds_over_tls)])
            click.echo(f"serving {served} documents of {', '.join(settings.roots)} on {ports}{console}")
            await asyncio.Event().wait()
