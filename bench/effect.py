"""Change to effect: from the rename that saves a file to the first request that is answered differently.

One VirtualService among N is changed, on a server and an Envoy as users run them. In turns with it an Envoy that reads
the same RouteConfiguration from a file as binary protobuf: what remains when nothing has to be understood, rendered or
sent. Both are timed from the rename; writing the new file is nobody's time. A third run, with clocks in the server,
says where the time goes.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from legation.local.envoy import Envoy

from bench import proxies, trees
from bench.figures import Row, ratios, row
from bench.requests import Asker
from bench.server import Server, free_port

NAME = "effect"
TARGETS = {10: 4.0, 1_000: 1.3, 5_000: 1.2}
ROUNDS = {10: 40, 1_000: 25, 5_000: 12}
WARM = 1
CALM = 0.25
"""Seconds between two saves: nobody saves faster, and what the server does afterwards does not count twice."""
COLOURS = ("blue", "green")
RICH = 100
"""Features in use at a rich host: rules with conditions, rewrites, retries, timeouts, headers, CORS and faults."""


async def measure(quick: bool) -> AsyncIterator[Row]:
    for count in (10,) if quick else TARGETS:
        rounds = 3 if quick else ROUNDS[count]
        with TemporaryDirectory(prefix="legation-bench-") as folder:
            ours, floor = await _in_turns(Path(folder), count, rounds)
        yield row(NAME, f"{count:,} hosts: Legation and Envoy", ours, "ms")
        yield row(NAME, f"{count:,} hosts: Envoy's own files", floor, "ms")
        yield ratios(NAME, f"{count:,} hosts: Legation to Envoy's own files", ours, floor, TARGETS[count])
        with TemporaryDirectory(prefix="legation-bench-") as folder:
            for stage, seconds in (await _where(Path(folder), count, rounds)).items():
                yield row(NAME, f"{count:,} hosts: … {stage}", seconds, "ms")
    rounds = 3 if quick else ROUNDS[10]
    with TemporaryDirectory(prefix="legation-bench-") as folder:
        rich, floor = await _in_turns(Path(folder), 10, rounds, RICH)
    yield row(NAME, f"10 hosts of {RICH} features: Legation and Envoy", rich, "ms")
    yield ratios(NAME, f"10 hosts of {RICH} features: Legation to Envoy's own files", rich, floor)
    with TemporaryDirectory(prefix="legation-bench-") as folder:
        for stage, seconds in (await _where(Path(folder), 10, rounds, RICH)).items():
            yield row(NAME, f"10 hosts of {RICH} features: … {stage}", seconds, "ms")


async def _in_turns(folder: Path, count: int, rounds: int, features: int = 0) -> tuple[list[float], list[float]]:
    """Seconds from save to effect, ours and Envoy's own, turn by turn."""
    directory = folder / "yaml"
    files = trees.answering(directory, count, COLOURS[0], features)
    port_map = {trees.FRONT: free_port()}
    snapshot = proxies.served(directory, port_map)
    routes, listener = proxies.the_routes(snapshot), proxies.the_listener(snapshot)
    by_name = {virtual_host.domains[0]: virtual_host for virtual_host in routes.virtual_hosts}
    file = folder / "routes.pb"
    file.write_bytes(proxies.as_file(routes, 0))
    listener.address.socket_address.port_value = own_port = free_port()
    random.seed(1)
    ours: list[float] = []
    floor: list[float] = []
    async with (
        await Server.start(directory, folder / "state") as server,
        proxies.gateway(server.address, port_map) as envoy,
        proxies.reading(file, listener) as reader,
    ):
        await server.ready()
        port = await _there(envoy, port_map)
        await reader.ready()
        with Asker(port) as asks_ours, Asker(own_port) as asks_floor:
            for turn in range(WARM + rounds):
                number = random.randrange(count)
                host, colour = trees.host(number), COLOURS[1]
                mine = trees.staged(files[number], trees.answer(number, colour, features).encode())
                by_name[host].routes[-1].direct_response.body.inline_string = colour
                theirs = trees.staged(file, proxies.as_file(routes, 2 * turn + 1))
                for staged, target, asker, seconds in (
                    (mine, files[number], asks_ours, ours),
                    (theirs, file, asks_floor, floor),
                ):
                    asker.ask(host)
                    began = time.monotonic()
                    staged.rename(target)
                    seconds.append(asker.until(host, colour.encode()) - began)
                    await asyncio.sleep(CALM)
                # Back to what it was, unmeasured, so that every turn changes one host from one colour to the other.
                trees.save(files[number], trees.answer(number, COLOURS[0], features))
                by_name[host].routes[-1].direct_response.body.inline_string = COLOURS[0]
                trees.staged(file, proxies.as_file(routes, 2 * turn + 2)).rename(file)
                asks_ours.until(host, COLOURS[0].encode())
                asks_floor.until(host, COLOURS[0].encode())
                await asyncio.sleep(CALM)
    return ours[WARM:], floor[WARM:]


async def _where(folder: Path, count: int, rounds: int, features: int = 0) -> dict[str, list[float]]:
    """Seconds by stage, of a server with clocks in it."""
    directory = folder / "yaml"
    files = trees.answering(directory, count, COLOURS[0], features)
    port_map = {trees.FRONT: free_port()}
    where: dict[str, list[float]] = {}
    random.seed(1)
    async with (
        await Server.start(directory, folder / "state", module=("bench.traced",)) as server,
        proxies.gateway(server.address, port_map) as envoy,
    ):
        await server.ready()
        port = await _there(envoy, port_map)
        with Asker(port) as asker:
            for turn in range(WARM + rounds):
                number, colour = turn % count, COLOURS[1 - turn // count % 2]
                host = trees.host(number)
                staged = trees.staged(files[number], trees.answer(number, colour, features).encode())
                asker.ask(host)
                began = time.monotonic()
                staged.rename(files[number])
                effect = asker.until(host, colour.encode())
                said = json.loads(await server.line())
                await asyncio.sleep(CALM)
                if turn >= WARM:
                    for stage, seconds in _stages(began, said, effect).items():
                        where.setdefault(stage, []).append(seconds)
    return where


def _stages(began: float, said: dict[str, object], effect: float) -> dict[str, float]:
    """One change, cut into the stages that follow each other."""
    at, taken, done = (float(str(said[key])) for key in ("at", "taken", "done"))
    seconds = said["seconds"]
    assert isinstance(seconds, dict)
    return {
        "file event": at - began,
        "quiet window, and reading in it": taken - at,
        "read": seconds.get("read", 0.0),
        "parse and decode": seconds.get("parse", 0.0) + seconds.get("decode", 0.0),
        "admit": seconds["admit"],
        "render": seconds["render"],
        "assemble": seconds["assemble"],
        "stream machine": seconds["stream"],
        "other": done - taken - sum(seconds.values()),
        "sent, and Envoy": effect - done,
    }


async def _there(envoy: Envoy, port_map: dict[int, int]) -> int:
    """The gateway's port, once it serves."""
    await envoy.ready(within=60)
    ((_, port),) = port_map.items()
    await envoy.listening(f"0.0.0.0_{port}", within=60)
    return port
