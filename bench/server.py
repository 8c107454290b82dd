"""A real `legation serve`, started as a process of its own and stopped at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Self

START_SECONDS = 120.0


class Server:
    """One server. Made by `start`; `async with` stops it. `address` is where it serves xDS."""

    def __init__(self, process: Process, address: str) -> None:
        self.process = process
        self.address = address

    @classmethod
    async def start(
        cls, directory: Path, state: Path, *, port: int = 0, module: tuple[str, ...] = (), options: tuple[str, ...] = ()
    ) -> Self:
        """Starts `legation serve DIR`, or another module with the same arguments; `ready` waits for it."""
        port = port or free_port()
        command = [
            sys.executable, "-m", *(module or ("legation", "serve")), str(directory),
            "--xds", f"127.0.0.1:{port}", "--http", "none", "--state-dir", str(state), *options,
        ]  # fmt: skip
        root = str(Path(__file__).parent.parent)
        with state.with_suffix(".log").open("ab") as told:  # a line per client that connects is nothing to look at
            process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=told, cwd=root, limit=1 << 20)
        return cls(process, f"127.0.0.1:{port}")

    async def ready(self) -> None:
        """Returns once it serves. Raises RuntimeError if it ends instead."""
        line = await self.line()
        if "serving" not in line:
            raise RuntimeError(f"the server said {line!r} and does not serve")

    async def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            return (await self.process.stdout.readline()).decode().rstrip()

    def cpu(self) -> float:
        """Seconds of processor time that it has used, all threads."""
        return process_time(self.process.pid)

    def memory(self) -> int:
        """Bytes of memory that it has (resident)."""
        return resident(self.process.pid)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(10):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def process_time(pid: int) -> float:
    """Seconds of processor time that a process has used (Linux: its own clock, which is exact to the nanosecond)."""
    if sys.platform != "linux":
        raise OSError("the processor time of other processes is measured on Linux only")
    return time.clock_gettime((~pid << 3) | 2)


def resident(pid: int) -> int:
    """Bytes of memory that a process has (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def quiet() -> None:
    """Nothing that gRPC says about connections belongs into a table."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
