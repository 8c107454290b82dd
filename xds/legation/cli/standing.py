"""What a server tells of its fleet, put together and put into words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from legation.admin.v1 import admin_pb2
from legation.journal import harmless
from legation.problems import Problem, Severity

SHORT = 8
"""Letters of a revision that are enough to tell it from others on a screen."""

WIDE = 200
"""Columns where there is no screen."""


@dataclass(slots=True)
class Known:
    """All that was told so far."""

    revision: str = ""
    ready: bool = False
    proxies: dict[int, admin_pb2.Proxy] = field(default_factory=dict)
    findings: admin_pb2.Findings = field(default_factory=admin_pb2.Findings)

    def take(self, message: admin_pb2.WatchResponse) -> None:
        """One more message."""
        self.revision, self.ready = message.summary.revision, message.summary.ready
        for stream in message.gone:
            self.proxies.pop(stream, None)
        self.proxies.update((proxy.stream, proxy) for proxy in message.proxies)
        if message.HasField("findings"):
            self.findings = message.findings

    @property
    def listed(self) -> list[admin_pb2.Proxy]:
        """What needs attention stands on top."""
        return sorted(self.proxies.values(), key=lambda proxy: (proxy.synced, proxy.namespace, proxy.id, proxy.stream))

    @property
    def is_wrong(self) -> bool:
        """Something is refused, held or in error."""
        refused = any(of.error or of.refused for proxy in self.proxies.values() for of in proxy.types.values())
        return refused or bool(self.findings.held) or any(one.severity == "error" for one in self.findings.problems)

    def had(self, proxy: admin_pb2.Proxy) -> str:
        """The newest revision that a proxy has in full."""
        return self.revision if proxy.synced else proxy.revision

    def as_json(self) -> dict[str, Any]:
        """The form of `status -o json`."""
        return {
            "revision": self.revision,
            "proxies": [self._proxy(proxy) for proxy in self.listed],
            "held": [_problem(of) for of in self.findings.held],
            "problems": [_problem(of) for of in self.findings.problems],
        }

    def _proxy(self, proxy: admin_pb2.Proxy) -> dict[str, Any]:
        types = sorted(proxy.types.items())
        return {
            "id": proxy.id, "role": proxy.role, "namespace": proxy.namespace, "variant": proxy.variant,
            "peer": proxy.peer, "identity": proxy.identity, "version": proxy.version,
            "connected": True, "since": proxy.since.ToMicroseconds() / 1e6, "synced": proxy.synced,
            "revision": self.had(proxy), "lacks": list(proxy.lacks),
            "types": {
                short: {
                    "sent": of.sent, "acked": of.acked, "nacked": of.nacked, "error": of.error,
                    "refused": dict(sorted(of.refused.items())), "since": of.since.ToJsonString() if of.pending else "",
                }
                for short, of in types
            },
        }  # fmt: skip


def show(known: Known, *, fresh: bool = False) -> None:
    """For people, on standard output; `fresh` on an empty screen."""
    from rich.console import Console  # noqa: PLC0415 - costs more than all the rest, and scripts never see it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WIDE
    elif fresh:
        console.clear()
    in_step = sum(proxy.synced for proxy in known.proxies.values())
    console.print(
        f"revision {known.revision or 'none'}, {in_step} of {len(known.proxies)} proxies have it"
        if known.ready
        else "the first load is not complete; proxies wait for it"
    )
    if known.proxies:
        table = Table(box=None, pad_edge=False, show_edge=False)
        for title in ("PROXY", "ROLE", "ENVOY", "REVISION", "STATE"):
            table.add_column(title, overflow="fold")
        for proxy in known.listed:
            word, colour = _state(proxy)
            had = known.had(proxy)[:SHORT] or "-"
            cells = map(Text, (_name(proxy.id), proxy.role, harmless(proxy.version), had))
            table.add_row(*cells, Text(word, style=colour))
        console.print(table)
        for proxy in known.listed:
            for reason in _reasons(proxy):
                console.print(f"  {_name(proxy.id)}: {reason}", markup=False)
    else:
        console.print("no proxy is connected; `legation bootstrap` makes the configuration of one")
    for title, listed in (("held", known.findings.held), ("problems", _rest(known.findings))):
        if listed:
            console.print(f"\n{title}:", markup=False)
            for of in listed:
                click.echo(f"  {_line(of)}")
    if known.findings.omitted:
        console.print(f"  and {known.findings.omitted} more", markup=False)


def waited(last: admin_pb2.WaitResponse, named: str, proxies: int, timeout: float) -> Iterator[str]:
    """How waiting ended."""
    noun = "proxy has" if last.connected == 1 else "proxies have"
    if last.done:
        yield f"{last.connected} {noun} revision {last.revision}"
    elif not last.revision and named:
        yield f"there was no revision {named} within {timeout:g} s; {last.newest or 'none'} is in service"
    elif not last.revision:
        yield f"what was saved is not decided on after {timeout:g} s; {last.newest or 'no revision'} is in service"
    else:
        if last.connected < proxies:
            yield f"{last.connected} of {proxies} proxies are connected after {timeout:g} s"
        if last.missing_count:
            yield f"not everywhere after {timeout:g} s: revision {last.revision}"
        for missing in last.missing:
            yield f"  {_name(missing.id)} has {missing.revision or 'no revision yet'}: {harmless(missing.why)}"
        if last.missing_count > len(last.missing):
            yield f"  and {last.missing_count - len(last.missing)} more"
    if not named:
        for of in (*last.held, *last.errors):
            yield f"not in service: {_line(of)}"


def waited_as_json(last: admin_pb2.WaitResponse) -> dict[str, Any]:
    """The form of `wait -o json`."""
    return {
        "done": last.done,
        "revision": last.revision,
        "newest": last.newest,
        "connected": last.connected,
        "missing": [{"id": one.id, "revision": one.revision, "why": one.why} for one in last.missing],
        "held": [_problem(of) for of in last.held],
        "errors": [_problem(of) for of in last.errors],
    }


def _name(node: str) -> str:
    """What people call it: of Istio's `router~IP~NAME.NAMESPACE~DOMAIN` the name; other ids as they are."""
    parts = node.split("~")
    return harmless(parts[2] if len(parts) == 4 else node)


def _state(proxy: admin_pb2.Proxy) -> tuple[str, str]:
    if any(of.error or of.refused for of in proxy.types.values()):
        return "refuses", "red"
    return ("in step", "green") if proxy.synced else ("behind", "yellow")


def _reasons(proxy: admin_pb2.Proxy) -> Iterator[str]:
    """What a proxy lacks, and since when it has not answered."""
    waits = [of.since.ToMicroseconds() / 1e6 for of in proxy.types.values() if of.pending]
    yield from map(harmless, proxy.lacks)
    if waits:
        yield f"the oldest answer is overdue for {max(0.0, time.time() - min(waits)):.1f} s"


def _rest(findings: admin_pb2.Findings) -> list[admin_pb2.Problem]:
    """The problems that are not told as held."""
    held = {of.SerializeToString(deterministic=True) for of in findings.held}
    return [of for of in findings.problems if of.SerializeToString(deterministic=True) not in held]


def _line(of: admin_pb2.Problem) -> str:
    severity = Severity[of.severity.upper()]
    return str(Problem(
        severity, of.code, of.message, of.file, of.line, of.column, of.object, of.path, of.hint, of.other
    ))  # fmt: skip


def _problem(of: admin_pb2.Problem) -> dict[str, Any]:
    return {descriptor.name: getattr(of, descriptor.name) for descriptor in of.DESCRIPTOR.fields}
