"""Storms: all clients at once, for the first time and again, each a sidecar with the whole mesh.

The clients (`herd.py`) are one process on the same machine, written in Python too: they take the bytes apart, so that their
processor time is more than the server's, and the times to the last one are those of both together. What the server alone
spends is told beside it, and so is its memory. What bounds it is copying: a client of a thousand services is sent some
megabytes, which gRPC copies once for each. On a reconnect the clients say what they have; clusters, listeners and routes
cost nothing then, while endpoints are sent again to whoever asks for them by name, as Envoy does, which may have lost them.
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
from typing import Any

from bench import trees
from bench.figures import Row, row
from bench.server import Server

NAME = "storm"
CLIENTS = 1_000
SERVICES = 1_000
AT_ONCE = 200
"""Clients that are on their way at once: what one process of clients can do."""
WITHIN = 900.0


async def measure(quick: bool) -> AsyncIterator[Row]:
    clients, services = (50, 50) if quick else (CLIENTS, SERVICES)
    what = f"{clients:,} clients × {services:,} services"
    with TemporaryDirectory(prefix="legation-bench-") as folder:
        directory = Path(folder) / "yaml"
        trees.services(directory, services)
        async with await Server.start(directory, Path(folder) / "state") as server:
            await server.ready()
            async with Herd(server.address, clients, AT_ONCE) as herd:
                used, began = server.cpu(), time.monotonic()
                first = await herd.does("connect")
                yield row(NAME, f"{what}: the first client, which all is rendered for", [first["last"] - began], "ms")
                yield row(NAME, f"{what}: … processor time of the server", [server.cpu() - used], "ms")
                for command, words in (("storm", "all connect"), ("again", "all again, with versions")):
                    before, used, began = server.memory(), server.cpu(), time.monotonic()
                    said = await herd.does(command)
                    yield row(NAME, f"{what}: {words}: the last has all", [said["last"] - began], "s")
                    yield row(NAME, f"{what}: … the median", [said["median"] - began], "s")
                    yield row(NAME, f"{what}: … processor time of the server", [server.cpu() - used], "s")
                    size = sum(said["bytes"].values()) / clients
                    yield row(NAME, f"{what}: … bytes per client", [size], "B")
                    yield row(NAME, f"{what}: … told to come again", [said["away"]], "times")
                    if command == "storm":
                        connected = size
                        grown = (server.memory() - before) / clients / 1024
                        yield row(NAME, f"{what}: … memory of the server per client", [grown], "KiB")
                        await herd.does("hang up")
                        continue
                    share = {type_: 100 * count / clients / connected for type_, count in said["bytes"].items()}
                    yield row(NAME, f"{what}: … of the first time", [sum(share.values())], "%")
                    unasked = sum(value for type_, value in share.items() if type_ != "eds")
                    yield row(NAME, f"{what}: … of the first time, endpoints aside", [unasked], "%", 1.0)


class Herd:
    """The process with the clients."""

    def __init__(self, address: str, clients: int, at_once: int) -> None:
        self._arguments = (address, str(clients), str(at_once))

    async def __aenter__(self) -> Herd:
        root = str(Path(__file__).parent.parent)
        command = (sys.executable, "-m", "bench.herd", *self._arguments)
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=root)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def does(self, command: str) -> dict[str, Any]:
        """Lets it do something; what it says when that is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        async with asyncio.timeout(WITHIN):
            line = await self._process.stdout.readline()
        said: dict[str, Any] = json.loads(line)
        return said
