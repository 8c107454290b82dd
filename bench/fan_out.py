"""Fan-out: one change to a thousand delta streams, until the last has acknowledged it.

The clients are gateways of one scope, each on a connection of its own, in another process on the same machine
(`crowd.py`): what they cost is in the times, and not in the server's processor time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import trees
from bench.figures import Row, row
from bench.server import Server

NAME = "fan-out"
STREAMS = 1_000
HOSTS = 100
ROUNDS = 10
WARM = 2
WITHIN = 120.0


async def measure(quick: bool) -> AsyncIterator[Row]:
    streams, rounds = (100, 3) if quick else (STREAMS, ROUNDS)
    last: list[float] = []
    middle: list[float] = []
    cpu: list[float] = []
    size: list[float] = []
    with TemporaryDirectory(prefix="legation-bench-") as folder:
        directory = Path(folder) / "yaml"
        files = trees.answering(directory, HOSTS, "blue")
        async with await Server.start(directory, Path(folder) / "state") as server:
            await server.ready()
            began = server.cpu()
            async with _Crowd(server.address, streams) as crowd:
                await crowd.report()
                connected = server.cpu() - began
                for turn in range(WARM + rounds):
                    staged = trees.staged(files[turn], trees.answer(turn, "green").encode())
                    await asyncio.sleep(0.5)
                    used, began = server.cpu(), time.monotonic()
                    staged.rename(files[turn])
                    told = await crowd.report()
                    await asyncio.sleep(0.5)  # the last acknowledgements are still read
                    if turn >= WARM:
                        last.append(told["last"] - began)
                        middle.append(told["median"] - began)
                        cpu.append(server.cpu() - used)
                        size.append(told["bytes"] / streams)
    what = f"{streams:,} streams of {HOSTS} hosts"
    yield row(NAME, f"{what}: save to the last ACK", last, "ms")
    yield row(NAME, f"{what}: save to the median ACK", middle, "ms")
    yield row(NAME, f"{what}: processor time of the server", cpu, "ms")
    yield row(NAME, f"{what}: the same, per stream", [seconds / streams for seconds in cpu], "µs")
    yield row(NAME, f"{what}: bytes per stream", size, "B")
    yield row(NAME, f"{what}: processor time to connect, per stream", [connected / streams], "ms")


class _Crowd:
    """The process with the clients."""

    def __init__(self, address: str, streams: int) -> None:
        self._arguments = (address, str(streams))

    async def __aenter__(self) -> _Crowd:
        root = str(Path(__file__).parent.parent)
        command = (sys.executable, "-m", "bench.crowd", *self._arguments)
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=root)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends with its input
        await self._process.wait()

    async def report(self) -> dict[str, float]:
        """What it says once every client has what was sent last."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WITHIN):
            line = await self._process.stdout.readline()
        said: dict[str, float] = json.loads(line)
        return said
