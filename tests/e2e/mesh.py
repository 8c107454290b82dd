"""What an end-to-end test stands on: real programs, real Envoys, real sockets; effects are awaited, nothing is left over."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import exp, lgamma, log
from pathlib import Path
from typing import Any, Self, TypeVar

import h11
from legation.bootstrap import Options, Secure, Variant, bootstrap, sds_files
from legation.local.envoy import Envoy, leashed
from legation.local.stand_in import StandIn, Workload
from legation.model.proxy import Capture, Role

from .namespace import marked

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
PATIENCE = 20.0
"""Seconds after which an effect that is awaited has failed: far more than any takes, on the slowest machine."""

T = TypeVar("T")


# --- asking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over one connection; `status` is 0, and `error` says why, if nothing did."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def workload(self) -> str:
        """The stand-in that answered, or what went wrong instead."""
        return str(self.json["workload"]) if self.status == 200 else f"{self.status} {self.error}".strip()

    @property
    def version(self) -> str:
        return str(self.json["version"]) if self.status == 200 else f"{self.status} {self.error}".strip()


async def ask(
    port: int, path: str = "/", host: str = "", *, address: str = "127.0.0.1", method: str = "GET",
    tls: ssl.SSLContext | None = None, **headers: str,
) -> Answer:  # fmt: skip
    """One request over a connection of its own; with `tls` it asks for the host's certificate, or for none without host."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            name = host.partition(":")[0] if tls is not None else None
            reader, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname=name)
            try:
                return await _exchange(reader, writer, method, path, host or f"{address}:{port}", headers, began)
            finally:
                writer.transport.abort()
    except (OSError, EOFError, h11.RemoteProtocolError, TimeoutError) as error:
        return Answer(0, seconds=time.monotonic() - began, error=f"{type(error).__name__}: {error}")


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, host: str,
    headers: Mapping[str, str], began: float,
) -> Answer:  # fmt: skip
    http = h11.Connection(h11.CLIENT)
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    request = h11.Request(method=method, target=path, headers=[("host", host), ("connection", "close"), *more])
    writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    status, got, body = 0, {}, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Response):
            status = event.status_code
            got = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.ConnectionClosed):
            raise EOFError("hung up")
    return Answer(status, got, body, time.monotonic() - began)


async def eventually(what: Callable[[], Awaitable[T]], is_wanted: Callable[[T], Any], within: float = PATIENCE) -> T:
    """Asks until the answer is the wanted one; fails with the last answer after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = await what()
        if is_wanted(found):
            return found
        assert time.monotonic() < deadline, f"still {found!r} after {within:g} s"
        await asyncio.sleep(0.01)


@dataclass(slots=True)
class Place:
    """Where a proxy serves a written port."""

    port: int
    address: str = "127.0.0.1"

    async def ask(
        self, path: str = "/", host: str = "", method: str = "GET", tls: ssl.SSLContext | None = None, **headers: str
    ) -> Answer:
        """One request over a connection of its own."""
        return await ask(self.port, path, host, address=self.address, method=method, tls=tls, **headers)

    async def answers(
        self, wanted: Callable[[Answer], Any], path: str = "/", host: str = "", within: float = PATIENCE, **headers: str
    ) -> Answer:
        """Asks until the answer is the wanted one."""
        return await eventually(lambda: self.ask(path, host, **headers), wanted, within)

    async def workload(self, name: str, path: str = "/", host: str = "", **headers: str) -> Answer:
        """Asks until this stand-in answers."""
        return await self.answers(lambda answer: answer.workload == name, path, host, **headers)

    async def status(self, status: int, path: str = "/", host: str = "", **headers: str) -> Answer:
        """Asks until the answer has this status; 0: until nobody listens."""
        return await self.answers(lambda answer: answer.status == status, path, host, **headers)

    async def tally(
        self, count: int, of: Callable[[Answer], T], path: str = "/", host: str = "", **headers: str
    ) -> Counter[T]:
        """What so many requests, one after the other, were answered; each of them is."""
        found: Counter[T] = Counter()
        for _ in range(count):
            answer = await self.ask(path, host, **headers)
            assert answer.status, answer.error
            found[of(answer)] += 1
        return found

    @contextlib.asynccontextmanager
    async def under_load(self, path: str = "/", host: str = "", clients: int = 2) -> AsyncIterator[Load]:
        """Clients that ask all the time while the block runs, each one request after the other."""
        load = Load()

        async def client() -> None:
            while not load.enough:
                load.take(await self.ask(path, host))

        tasks = [asyncio.create_task(client()) for _ in range(clients)]
        try:
            yield load
        finally:
            load.enough = True
            await asyncio.gather(*tasks)


@dataclass(slots=True)
class Load:
    """What the clients of `Place.under_load` were answered."""

    count: int = 0
    failures: list[Answer] = field(default_factory=list)
    enough: bool = False

    def take(self, answer: Answer) -> None:
        self.count += 1
        if answer.status != 200:
            self.failures.append(answer)

    async def more(self, requests: int) -> None:
        """Returns once so many more were answered."""
        wanted = self.count + requests
        await eventually(self._counted, lambda count: count >= wanted)

    async def _counted(self) -> int:
        return self.count


def binomial(count: int, share: float, risk: float = 1e-9) -> range:
    """The numbers of hits in `count` independent tries that are believable: all others together are rarer than `risk`."""

    def probability(hits: int) -> float:
        ways = lgamma(count + 1) - lgamma(hits + 1) - lgamma(count - hits + 1)
        return exp(ways + hits * log(share) + (count - hits) * log(1 - share))

    low, tail = 0, probability(0)
    while tail < risk / 2:
        low += 1
        tail += probability(low)
    high, tail = count, probability(count)
    while tail < risk / 2:
        high -= 1
        tail += probability(high)
    return range(low, high + 1)


# --- ports --------------------------------------------------------------------------------------------------------


def free_port(address: str = "127.0.0.1") -> int:
    """A port below those that the system hands out, so that no client's end of a connection takes it meanwhile."""
    for _ in range(1000):
        port = random.randrange(18000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((address, port))
            return port
    raise AssertionError("no port is free")


def own_address() -> str:
    """A loopback address that hardly anybody else has."""
    return f"127.{random.randrange(64, 192)}.{random.randrange(256)}.{random.randrange(1, 255)}"


# --- programs -----------------------------------------------------------------------------------------------------


class Program:
    """`legation …` as a child, with everything that it prints. Ends with this process, whatever happens to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = asyncio.Condition()
        self._readers = [asyncio.create_task(self._read(end)) for end in (process.stdout, process.stderr) if end]

    @classmethod
    async def start(
        cls, *arguments: str, stdin: int | None = asyncio.subprocess.DEVNULL, mounts: str = "", **environment: str
    ) -> Self:
        """In a process group of its own, like a shell's job. With `mounts`, a shell's commands, in a file system that these
        have changed for it alone.
        """
        pipe = asyncio.subprocess.PIPE
        program = leashed((sys.executable, "-m", "legation", *arguments))
        if mounts:
            program = ("unshare", "-Urm", "sh", "-ec", f'{mounts}\nexec "$@"', "sh", *program)
        return cls(
            await asyncio.create_subprocess_exec(
                *program, stdin=stdin, stdout=pipe, stderr=pipe,
                env={**clean_environment(), **environment}, process_group=0,
            )
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def says(self, pattern: str, since: int = 0, within: float = PATIENCE) -> re.Match[str]:
        """Returns once a line matches, looking from line `since` on (`len(program.lines)` before what should cause it).

        Fails if the program ends without such a line.
        """
        found: re.Match[str] | None = None
        seen = since

        def is_there() -> bool:
            nonlocal found, seen
            while found is None and seen < len(self.lines):
                found = re.search(pattern, self.lines[seen])
                seen += 1
            return found is not None or all(reader.done() for reader in self._readers)

        try:
            async with asyncio.timeout(within), self._news:
                await self._news.wait_for(is_there)
        except TimeoutError:
            pass
        assert found is not None, f"nothing like {pattern!r} was printed:\n{self.text}"
        return found

    async def interrupt(self) -> int:
        """Ctrl-C: the signal goes to the whole job. The exit status."""
        os.killpg(self.pid, signal.SIGINT)
        return await self.ended()

    async def kill(self) -> None:
        """kill -9: it has no time for anything."""
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()

    async def stop(self) -> None:
        """Ends it, gently if it listens; harmless when it has ended."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            await self.ended(within=10)
        except AssertionError:
            self.process.kill()
            await self.ended()
            raise

    async def ended(self, within: float = PATIENCE) -> int:
        """The exit status, once it has ended and all that it said is read."""
        try:
            async with asyncio.timeout(within):
                status = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"it did not end:\n{self.text}") from None
        # A grandchild that outlives it may hold these pipes open; those who care look for it.
        await asyncio.wait(self._readers, timeout=1)
        for reader in self._readers:
            reader.cancel()
        print(self.text)  # shown where a test fails
        return status

    async def _read(self, end: asyncio.StreamReader) -> None:
        try:
            while line := await end.readline():
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                async with self._news:
                    self._news.notify_all()
        finally:
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, self._wake())

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()


def clean_environment() -> dict[str, str]:
    """Ours, without what would change what the program does."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LEGATION_") or name == "LEGATION_ENVOY"
    } | {"NO_COLOR": "1"}


def descendants(pid: int) -> set[int]:
    """The processes that a process started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found.update(children)
        waiting += children
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def all_gone(pids: Iterable[int]) -> None:
    """Returns once none of these processes runs."""

    async def left() -> list[int]:
        return [pid for pid in pids if is_running(pid)]

    await eventually(left, lambda found: not found)


# --- a mesh -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Proxy:
    """An Envoy of the mesh: where its written ports are."""

    envoy: Envoy
    places: dict[int, Place]

    def at(self, port: int = 80) -> Place:
        return self.places[port]

    async def stat(self, cluster: str, name: str) -> int:
        """What Envoy has counted for a cluster, whose name ends in a delimiter there; 0 for nothing."""
        _, text = await self.envoy.ask(f"/stats?filter={re.escape(name)}$")
        found = re.search(rf"^cluster\.{re.escape(cluster)};\.{re.escape(name)}: (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0


class Mesh:
    """A folder of documents, a server for it, Envoys and stand-ins; all of it ends with the test."""

    def __init__(self, stack: contextlib.AsyncExitStack, base: Path, variant: Variant) -> None:
        self._stack = stack
        self.folder = base / "configs"
        self.folder.mkdir()
        self.state = base / "state"
        self.socket = base / "xds"
        self.variant = variant
        self.server: Program
        self.console: Place

    # -- the documents --

    def write(self, name: str, *documents: str | Mapping[str, Any]) -> Path:
        """Saves a file in one go: written beside and renamed over. Mappings become documents."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_text("---\n".join(text if isinstance(text, str) else yaml(text) for text in documents))
        beside.replace(path)
        return path

    # -- the server --

    async def serve(self, *arguments: str, xds: str = "", mounts: str = "") -> Program:
        """Starts `legation serve` for the folder and returns once it serves."""
        self.server = await self.start(*arguments, xds=xds, mounts=mounts)
        said = await self.server.says(r"^serving .* on .*, http://(\S+):(\d+)$")
        self.console = Place(int(said[2]), said[1])
        return self.server

    async def start(
        self, *arguments: str, xds: str = "", stdin: int = asyncio.subprocess.DEVNULL, mounts: str = ""
    ) -> Program:
        """Starts `legation serve`, which need not succeed."""
        program = await Program.start(
            "serve", str(self.folder), "--xds", xds or f"unix:{self.socket}", "--http", "127.0.0.1:0",
            "--state-dir", str(self.state), *arguments, stdin=stdin, mounts=mounts,
        )  # fmt: skip
        self._stack.push_async_callback(program.stop)
        return program

    async def proxies(self) -> list[dict[str, Any]]:
        """What /debug/proxies says."""
        return list((await self.console.ask("/debug/proxies")).json)

    async def at_rest(self, proxies: int) -> list[dict[str, Any]]:
        """Returns once so many proxies are connected and have taken everything that they were sent."""

        def is_rest(found: list[dict[str, Any]]) -> bool:
            return len(found) == proxies and all(proxy["synced"] and proxy["types"] for proxy in found)

        return await eventually(self.proxies, is_rest)

    async def problems(self) -> dict[str, Any]:
        """What /debug/problems says."""
        return dict((await self.console.ask("/debug/problems")).json)

    async def held(self, name: str) -> dict[str, Any]:
        """Returns once the newest version of a document (`VirtualService default/red`) is not in service: why."""
        told = await eventually(self.problems, lambda said: any(held["object"] == name for held in said["held"]))
        return next(held for held in told["held"] if held["object"] == name)

    # -- what is around it --

    async def gateway(self, *ports: int, name: str = "gateway", xds: str = "") -> Proxy:
        """An Envoy for the Gateways' written ports (80 if none is named), ready to be asked."""
        return await self._proxy(Role.GATEWAY, name, "default", "127.0.0.1", ports or (80,), xds)

    async def sidecar(
        self, *ports: int, name: str = "caller", namespace: str = "default", locality: str = "", **labels: str
    ) -> Proxy:
        """An Envoy beside a caller, at an address of its own."""
        return await self._proxy(Role.SIDECAR, name, namespace, own_address(), ports, "", locality, labels)

    async def secured(self, role: Role, name: str, namespace: str, xds: str, secure: Secure, *ports: int) -> Proxy:
        """An Envoy that connects over TLS."""
        bind = "127.0.0.1" if role is Role.GATEWAY else own_address()
        return await self._proxy(role, name, namespace, bind, ports, xds, secure=secure)

    async def capturing(
        self, name: str = "caller", space: str = "default", ip: str = "10.9.9.9", **labels: str
    ) -> Envoy:
        """An Envoy to which the traffic of this network namespace is redirected; see namespace.py."""
        options = Options(
            Role.SIDECAR, name, space, ip=ip, capture=Capture.REDIRECT, xds=f"unix:{self.socket}",
            admin="127.0.0.1:0", variant=self.variant, labels=labels,
        )  # fmt: skip
        return await self._stack.enter_async_context(await Envoy.start(marked(bootstrap(options))))

    async def _proxy(
        self, role: Role, name: str, namespace: str, bind: str, ports: Iterable[int], xds: str, locality: str = "",
        labels: Mapping[str, str] | None = None, secure: Secure | None = None,
    ) -> Proxy:  # fmt: skip
        places = {port: Place(free_port("0.0.0.0" if role is Role.GATEWAY else bind), bind) for port in ports}
        options = Options(
            role, name, namespace, bind=bind, xds=xds or f"unix:{self.socket}", admin="127.0.0.1:0",
            variant=self.variant, port_map={port: place.port for port, place in places.items()}, reuse_port=False,
            locality=locality, labels=labels or {}, secure=secure,
        )  # fmt: skip
        if secure is not None:
            write_sds_files(options, Path(secure.folder))
        envoy = await self._stack.enter_async_context(await Envoy.start(bootstrap(options)))
        return Proxy(envoy, places)

    async def stand_in(
        self, name: str, version: str = "v1", *, host: str = "127.0.0.1", port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> int:  # fmt: skip
        """A service that answers with its name; its port."""
        running = await StandIn.start(Workload(name, {"version": version}), host, port or free_port(host), tls=tls)
        self._stack.push_async_callback(running.stop)
        return running.port


@contextlib.asynccontextmanager
async def mesh(variant: Variant = Variant.DELTA) -> AsyncIterator[Mesh]:
    """An empty one. Its folder's path is short: a Unix socket's has 107 characters."""
    with tempfile.TemporaryDirectory(prefix="legation-e2e-") as base:
        async with contextlib.AsyncExitStack() as stack:
            yield Mesh(stack, Path(base), variant)


# --- `legation run` ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Story:
    """A copy of a folder below configs/ that `legation run` runs."""

    folder: Path
    program: Program
    console: Place
    places: Mapping[tuple[str, str], Place]
    """Where to ask, by proxy (`gateway`, `sidecar.default`) and host (or https://host), as the program proposes it."""

    def at(self, proxy: str, host: str) -> Place:
        return self.places[proxy, host]

    def client(self, *, known: bool = False) -> ssl.SSLContext:
        """A client that trusts the authority of the run; if it is `known`, one with a certificate of it."""
        (folder,) = (found[1] for line in self.program.lines if (found := re.search(r"\.key are in (\S+)\)$", line)))
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        if known:
            context.load_cert_chain(f"{folder}/client.crt", f"{folder}/client.key")
        return context

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Saves a changed file, as an editor does."""
        path = self.folder / name
        before = path.read_text()
        after = change(before)
        assert after != before
        beside = path.with_name(f".{name}.new")
        beside.write_text(after)
        beside.replace(path)


@contextlib.asynccontextmanager
async def story(name: str, variant: Variant, *arguments: str, source: Path = CONFIGS) -> AsyncIterator[Story]:
    """Runs a copy of a story, a folder of `source`, until the block ends.

    Stories start one after the other, since all want the same ports.
    """
    with tempfile.TemporaryDirectory(prefix="legation-e2e-") as base:
        folder = Path(base, name)
        shutil.copytree(source / name, folder)
        os.mkdir(f"{base}/tmp")
        with _turn():
            program = await Program.start(
                "run", str(folder), "--http", "127.0.0.1:0", "--state-dir", f"{base}/state", "--variant", variant,
                *arguments, TMPDIR=f"{base}/tmp",
            )  # fmt: skip
            try:
                await program.says("^stop with Ctrl-C$")
            except BaseException:
                await program.stop()
                raise
        try:
            yield Story(folder, program, *_proposed(program.lines))
        finally:
            await program.stop()


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    with open(Path(tempfile.gettempdir(), "legation-e2e.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _proposed(lines: Iterable[str]) -> tuple[Place, dict[tuple[str, str], Place]]:
    console, proxy = Place(0), ""
    places: dict[tuple[str, str], Place] = {}
    for line in lines:
        if found := re.match(r"(?:gateway|sidecar): (\S+)", line):
            proxy = found[1]
        elif found := re.match(r"  curl -s (?:-H 'Host: (\S+)' )?http://(\S+):(\d+)/", line):
            places[proxy, found[1] or ""] = Place(int(found[3]), found[2])
        elif found := re.match(r"  curl -s --cacert .* https://(\S+):(\d+)/", line):
            places[proxy, f"https://{found[1]}"] = Place(int(found[2]))
        elif found := re.match(r"see  http://(\S+):(\d+)/", line):
            console = Place(int(found[2]), found[1])
    return console, places


def write_sds_files(options: Options, folder: Path) -> None:
    """As `legation bootstrap --out` does."""
    for name, text in sds_files(options).items():
        (folder / name).write_text(text)


# --- documents ----------------------------------------------------------------------------------------------------


def yaml(content: Mapping[str, Any]) -> str:
    """A document; JSON is YAML, but every entry of it stands on a line of its own."""
    return "\n".join(_yaml(content)) + "\n"


def _yaml(content: Any, indent: str = "") -> Iterator[str]:
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            if isinstance(value, Mapping | list | tuple) and value:
                yield f"{indent}{key}:"
                yield from _yaml(value, indent + "  ")
            else:
                yield f"{indent}{key}: {json.dumps(value)}"
    elif isinstance(content, list | tuple) and content:
        for value in content:
            first, *rest = _yaml(value, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
    else:
        yield indent + json.dumps(content)


def document(kind: str, name: str, spec: Mapping[str, Any], namespace: str = "default") -> dict[str, Any]:
    """One of Istio's networking kinds."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def gateway(*ports: int, name: str = "front", hosts: Iterable[str] = ("*",)) -> dict[str, Any]:
    """A Gateway with a plain HTTP server for every port."""
    servers = [
        {"port": {"number": port, "name": f"http-{port}", "protocol": "HTTP"}, "hosts": list(hosts)}
        for port in ports or (80,)
    ]
    return document("Gateway", name, {"selector": {"istio": "ingressgateway"}, "servers": servers})


def service(name: str, *ports: int, **versions: int) -> dict[str, Any]:
    """A ServiceEntry `name.test` with an endpoint on this machine for every port, or for every version."""
    endpoints = [{"address": "127.0.0.1", "ports": {"http": port}} for port in ports]
    endpoints += [
        {"address": "127.0.0.1", "ports": {"http": port}, "labels": {"version": version}}
        for version, port in versions.items()
    ]
    return document(
        "ServiceEntry", name,
        {
            "hosts": [f"{name}.test"],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": endpoints,
        },
    )  # fmt: skip


def rule(name: str, to: str, subset: str = "", gateway: str = "front") -> dict[str, Any]:
    """A VirtualService for the host `name.example` at a gateway, which sends everything to the service `to`."""
    destination = {"host": f"{to}.test", **({"subset": subset} if subset else {})}
    spec = {"hosts": [f"{name}.example"], "gateways": [gateway], "http": [{"route": [{"destination": destination}]}]}
    return document("VirtualService", name, spec)


def subsets(of: str, **versions: str) -> dict[str, Any]:
    """A DestinationRule with subsets by name, each of a version."""
    listed = [{"name": name, "labels": {"version": version}} for name, version in versions.items()]
    return document("DestinationRule", of, {"host": f"{of}.test", "subsets": listed})
