"""Cold start: nothing runs and nothing is remembered, until the first request is answered; and what compiling costs.

A server and an Envoy (a sidecar, which gets the whole mesh) are started at the same moment, with an empty state
directory, for services with two subsets each; a backend answers what the sidecar sends on. Compiling is measured in a
process of its own, from files to the bytes of one sidecar's resources; its stages are told in processor time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from legation.bootstrap import Options, bootstrap
from legation.local.envoy import Envoy
from legation.model.proxy import Role

from bench import trees
from bench.figures import Row, row
from bench.requests import Asker
from bench.server import Server, free_port

NAME = "cold"
SERVICES = 1_000
COMPILED = 10_000
TARGET = 6.0
ROUNDS = 3


async def measure(quick: bool) -> AsyncIterator[Row]:
    count, compiled, rounds = (50, 200, 1) if quick else (SERVICES, COMPILED, ROUNDS)
    times: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        with TemporaryDirectory(prefix="legation-bench-") as folder:
            for what, seconds in (await _from_nothing(Path(folder), count)).items():
                times[what].append(seconds)
    for what, values in times.items():
        yield row(NAME, f"{count:,} services: {what}", values, "s")
    shapes: tuple[tuple[str, int, Callable[[Path], object], float | None], ...] = (
        ("ServiceEntry and DestinationRule", trees.BRIEF, lambda at: trees.entries(at, compiled), TARGET),
        ("five documents each", trees.DOCUMENTS, lambda at: trees.services(at, compiled), None),
        ("five each, in one file", trees.DOCUMENTS, lambda at: trees.services(at, compiled, one_file=True), None),
    )
    for shape, documents, write, wanted in shapes:
        stages: defaultdict[str, list[float]] = defaultdict(list)
        with TemporaryDirectory(prefix="legation-bench-") as folder:
            directory = Path(folder) / "yaml"
            write(directory)
            size = trees.size(directory) / 1e6
            for _ in range(rounds):
                for stage, seconds in (await _compiled(directory)).items():
                    stages[stage].append(seconds)
        what = f"{compiled:,} services, {shape}"
        target = None if quick else wanted
        yield row(NAME, f"{what}: {compiled * documents:,} documents, {size:.0f} MB", stages.pop("all"), "s", target)
        yield row(NAME, f"{what}: its processor time", stages.pop("processor"), "s")
        for stage, values in stages.items():
            yield row(NAME, f"{what} … {stage}", values, "s")


async def _from_nothing(folder: Path, count: int) -> dict[str, float]:
    """Seconds from the start of the two processes."""
    backend = await asyncio.start_server(_answers, "127.0.0.1", 0)
    target = backend.sockets[0].getsockname()[1]
    beside = await asyncio.start_server(_answers, trees.BESIDE, target)
    directory = folder / "yaml"
    trees.services(directory, count, target=target)
    xds, port = free_port(), free_port()
    options = Options(
        Role.SIDECAR, "bench", namespace=trees.NAMESPACE, xds=f"127.0.0.1:{xds}", admin="127.0.0.1:0",
        port_map={trees.PORT: port},
    )  # fmt: skip
    began = time.monotonic()
    async with await Server.start(directory, folder / "state", port=xds) as server:
        starting = asyncio.create_task(server.ready())
        starting.add_done_callback(lambda _: serving.append(time.monotonic()))
        serving: list[float] = []
        async with await Envoy.start(bootstrap(options), within=60) as envoy:
            await starting
            host = f"{trees.name(count - 1)}.{trees.NAMESPACE}"
            answered = await _first_answer(port, host)
            await envoy.ready()
            cpu = server.cpu()
    for listening in (backend, beside):
        listening.close()
    return {
        "start to serving": serving[0] - began,
        "start to the first request answered through Envoy": answered - began,
        "processor time of the server by then": cpu,
    }


async def _first_answer(port: int, host: str) -> float:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError, EOFError):
            with Asker(port) as asker:
                status, _ = await asyncio.to_thread(asker.ask, host)
            if status == 200:
                return time.monotonic()
        await asyncio.sleep(0.005)
    raise TimeoutError("no request was answered through Envoy")


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The smallest backend there is."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
    writer.close()


async def _compiled(directory: Path) -> dict[str, float]:
    """Seconds by stage, in a process of its own."""
    root = str(Path(__file__).parent.parent)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.compiler", str(directory), stdout=PIPE, cwd=root
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the compiler ended with status {process.returncode}")
    seconds: dict[str, float] = json.loads(said)
    return seconds
