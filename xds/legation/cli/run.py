"""`legation run`: everything on this machine: the server, real Envoys, stand-ins for the workloads that are not here."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import click

from legation import bootstrap, journal, names
from legation.app import App, Refused
from legation.cli import interrupts, tour
from legation.cli.flags import option, paint
from legation.cli.options import address, existing, hooks, is_local, logs, mesh_config
from legation.cli.serve import kept_in
from legation.hooks import Hook
from legation.ingest import state
from legation.local import workloads
from legation.local.certificates import StandInCertificates
from legation.local.envoy import Envoy, EnvoyDied, EnvoyMissing
from legation.model import instances, outlets, servers
from legation.model.proxy import GATEWAY_LABELS, Capture, Labels, Proxy, Role, labels
from legation.model.recall import Recall
from legation.model.values import is_label
from legation.model.world import World
from legation.problems import Problem
from legation.settings import Settings

Tell: TypeAlias = Callable[[Problem, bool], None]


@dataclass(frozen=True, slots=True)
class Local:
    """A proxy that `run` starts: who it is, and where its written ports really are."""

    role: Role
    name: str
    namespace: str
    bind: str
    port_map: tuple[tuple[int, int], ...] = ()
    labels: Labels = ()

    @property
    def proxy(self) -> Proxy:
        """As the server will see it."""
        return Proxy(
            self.name, self.role, self.namespace, self.name, labels=self.labels, capture=Capture.NONE, bind=self.bind,
            port_map=self.port_map, reuse_port=False,
        )  # fmt: skip

    def real(self, port: int) -> int:
        """Where a written port is."""
        return dict(self.port_map).get(port, port)


@click.command()
@click.argument("directory", default=".")
@option("--sidecar", multiple=True, help="One more sidecar, NAME.NAMESPACE.")
@option(
    "--http",
    callback=address,
    default="127.0.0.1:15014",
    help="Health, metrics and the page; another port if it is taken.",
)
@option("--locality", default="", help="Where the proxies run, REGION/ZONE/SUBZONE.", show_default=False)
@option("--state-dir", default=None, help="Where accepted versions are kept, or none. [default: below XDG_STATE_HOME]")
@option("--variant", type=click.Choice([str(known) for known in bootstrap.Variant]), default="delta", help="Of xDS.")
@mesh_config()
@hooks()
@logs("warning")
def run(
    directory: str,
    sidecar: tuple[str, ...],
    http: tuple[str, int] | None,
    locality: str,
    state_dir: str | None,
    variant: str,
    mesh_config: str | None,
    hooks: Hook | None,
    log_level: str,
    log_format: str,
) -> None:
    """Run the YAML in DIRECTORY on this machine: a server, a gateway, a sidecar, and stand-ins for what is not here."""
    existing((directory,))
    journal.begin(log_level, log_format)
    tell = _tell if log_format == "text" else None
    for name in sidecar:
        if name.count(".") != 1 or not all(name.split(".")):
            raise click.UsageError(f"{name!r} is not NAME.NAMESPACE")
        own, _, namespace = name.partition(".")
        try:
            bootstrap.bootstrap(bootstrap.Options(Role.SIDECAR, own, namespace))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    try:
        bootstrap.bootstrap(bootstrap.Options(Role.GATEWAY, "gateway", locality=locality))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if http is not None and not is_local(f"{http[0]}:{http[1]}"):
        raise click.UsageError(f"{http[0]} is beyond this machine, and what run starts is for this one")
    if http is not None and not workloads.is_free(*http):
        http = (http[0], 0)
    kept = kept_in(state_dir, (directory,))
    with tempfile.TemporaryDirectory(prefix="legation-") as folder:
        socket = f"unix:{folder}/xds"
        settings = Settings(
            (directory,), (socket,), http, kept, state_dir is not None, drain=0.2, mesh_config=mesh_config, hook=hooks
        )
        try:
            asyncio.run(_run(settings, tell, sidecar, locality, bootstrap.Variant(variant), Path(folder)))
        except (Refused, OSError, state.StateError, EnvoyMissing, EnvoyDied) as error:
            click.echo(f"not started: {error}", err=True)
            sys.exit(1)


async def _run(
    settings: Settings,
    tell: Tell | None,
    sidecars: tuple[str, ...],
    locality: str,
    variant: bootstrap.Variant,
    folder: Path,
) -> None:
    asked_to_stop = interrupts.cancel_when_asked()
    with contextlib.suppress(asyncio.CancelledError):
        async with contextlib.AsyncExitStack() as stack:
            app = await stack.enter_async_context(App(settings, tell))
            certificates = StandInCertificates(folder)
            await app.supply(*certificates.follow(app.admission.world, app.admission.accepted))
            stand_ins = workloads.StandIns(certificates.authority.server)
            stack.push_async_callback(stand_ins.stop)
            await app.supply(*await stand_ins.follow(app.admission.world))
            proxies = list(_proxies(app.admission.world, sidecars))
            await app.supply(
                workloads.of_gateways(
                    app.admission.world, {local.labels: local.real for local in proxies if local.role is Role.GATEWAY}
                )
            )
            envoys = [
                await stack.enter_async_context(await _start(app, local, locality, variant, asked_to_stop))
                for local in proxies
            ]
            for envoy in envoys:
                await envoy.ready()
            for line in tour.introduction(app, proxies, stand_ins.summary(), certificates):
                click.echo(line)
            await _until_one_ends(_follow(app, stand_ins, certificates), *(envoy.wait() for envoy in envoys))
            raise EnvoyDied(-1, ["an Envoy ended unasked"])


async def _until_one_ends(*running: Coroutine[Any, Any, object]) -> None:
    """Raises what the first one that ended raised."""
    tasks = [asyncio.create_task(each) for each in running]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except asyncio.CancelledError:
        click.echo("\nstopping…")
        raise
    finally:
        for task in tasks:
            task.cancel()


async def _follow(app: App, stand_ins: workloads.StandIns, certificates: StandInCertificates) -> None:
    """Replicas and certificates come and go with the documents."""
    while True:
        async with app.changed:
            await app.changed.wait()
        signed, dropped = certificates.follow(app.admission.world, app.admission.accepted)
        added, removed = await stand_ins.follow(app.admission.world)
        if added or removed or signed or dropped:
            await app.supply([*signed, *added], [*dropped, *removed])


def _proxies(world: World, sidecars: tuple[str, ...]) -> Iterator[Local]:
    """A gateway for Gateways that select the labels of Istio's own; a sidecar if there is anything to reach through one, and
    those asked for; then a gateway for each other selector, such as that of an egress gateway.
    """
    taken: set[int] = set()
    gateways = [Local(Role.GATEWAY, name, "default", "0.0.0.0", labels=own) for own, name in _gateways(world).items()]
    yield from (_placed(local, world, taken) for local in gateways if local.labels == labels(GATEWAY_LABELS))
    beside = ["sidecar.default"] if world.names("service") or world.names(("bound", names.MESH_GATEWAY)) else []
    for number, written in enumerate([*beside, *sidecars]):
        name, _, namespace = written.partition(".")
        yield _placed(Local(Role.SIDECAR, name, namespace, f"127.0.0.{number + 1}"), world, taken)
    yield from (_placed(local, world, taken) for local in gateways if local.labels != labels(GATEWAY_LABELS))


def _gateways(world: World) -> dict[Labels, str]:
    """The labels of the gateways to start, with their names. Selectors of the same labels and more share one."""
    found: dict[Labels, str] = {}
    for selector in sorted(Recall(world).ask(servers.selectors), key=lambda each: (-len(each), each)):
        if selector and set(selector) <= set(GATEWAY_LABELS.items()):
            found.setdefault(labels(GATEWAY_LABELS), "gateway")
        elif selector and not any(set(selector) <= set(known) for known in found):
            name = dict(selector).get("istio") or selector[0][1]
            found[selector] = name if name not in found.values() and is_label(name) else f"gateway-{len(found) + 1}"
    if not found and world.names("Gateway"):
        found[labels(GATEWAY_LABELS)] = "gateway"
    return found


def _placed(local: Local, world: World, taken: set[int]) -> Local:
    """The proxy with a real port for every written one: the same if it can be had, 8080 for 80, else a free one."""
    recall = Recall(world)
    scope = instances.scope(world, local.proxy)
    if local.role is Role.GATEWAY:
        written = sorted({server.number for server in recall.ask(servers.servers, scope)} - {0})
    else:
        written = list(recall.ask(outlets.ports, scope))
    port_map: dict[int, int] = {}
    for port in written:
        wish = {80: 8080, 443: 8443}.get(port, port + 8000 if port < 1024 else port)
        if wish in taken or not workloads.is_free(local.bind, wish):
            wish = workloads.free_port(local.bind)
        if local.bind in ("0.0.0.0", "127.0.0.1"):
            taken.add(wish)
        if wish != port:
            port_map[port] = wish
    return replace(local, port_map=tuple(port_map.items()))


async def _start(
    app: App, local: Local, locality: str, variant: bootstrap.Variant, asked_to_stop: asyncio.Event
) -> Envoy:
    options = bootstrap.Options(
        role=local.role, name=local.name, namespace=local.namespace,
        bind="127.0.0.1" if local.role is Role.GATEWAY else local.bind,
        capture=Capture.NONE, xds=app.xds[0], admin="127.0.0.1:0", variant=variant, port_map=dict(local.port_map),
        labels=dict(local.labels), locality=locality, reuse_port=False,
    )  # fmt: skip

    def show(line: str) -> None:
        if not asked_to_stop.is_set():  # that the server goes is no news then
            click.echo(f"{local.name}: {line}", err=True)

    return await Envoy.start(bootstrap.bootstrap(options), show=show)


def _tell(problem: Problem, is_new: bool) -> None:
    if is_new:
        click.echo(paint(problem), err=True)
    else:
        where = f"{problem.file}:{problem.line}: " if problem.line else ""
        click.echo(f"{where}{click.style('mended:', fg='green', bold=True)} {problem.message}", err=True)
