"""The cost of a change: processor time of the server from a saved file to the bytes for two streams, by size of the mesh.

The server's own stages run in this process, without a socket: the file is read, decoded, admitted and rendered, and the
stream machines of one sidecar and one gateway give the responses, whose bytes are made as the transport makes them. The
RouteConfiguration has a part for every service, so joining and hashing its bytes, and everything that is done to send
them, grow with the mesh by necessity: they are told apart. What is promised is the rest.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from legation import names
from legation.app import App
from legation.ingest.watch import Changed
from legation.model.access import Peer
from legation.model.proxy import GATEWAY_LABELS, Channel, Proxy, introduce
from legation.settings import Settings
from legation.snapshot.snapshot import Change, Snapshot
from legation.status import ProxyStatus
from legation.stream.commands import Command, Send
from legation.stream.events import Published, Requested
from legation.stream.inventory import Holding
from legation.stream.machine import Stream, Variant
from legation.stream.proofs import TRUST
from legation.transport import codec

from bench import trees
from bench.figures import Row, ratios, row
from bench.stages import Stages, of_a_change

NAME = "cost"
SIZES = (100, 1_000, 10_000)
TARGET = 2.0
ROUNDS = 15
WARM = 3
BYTES = ("assemble", "send")
"""The stages that handle the bytes of whole resources."""

CHANGES: dict[str, Callable[[int, int], str]] = {
    "a weight of a VirtualService": lambda number, turn: trees.service(number, weight=10 + turn),
    "a label of a DestinationRule's subset": lambda number, turn: trees.service(number, label=f"v2-{turn}"),
    "an endpoint": lambda number, turn: trees.service(number, address=f"127.0.1.{turn + 1}"),
}


async def measure(quick: bool) -> AsyncIterator[Row]:
    sizes = SIZES[:2] if quick else SIZES
    rounds = 4 if quick else ROUNDS
    whole: dict[tuple[str, int], list[float]] = {}
    with TemporaryDirectory(prefix="legation-bench-") as folder:
        meshes = [_Mesh(Path(folder) / str(size), size) for size in sizes]
        for what, write in CHANGES.items():
            stages: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
            for turn in range(WARM + rounds):
                for mesh in meshes:  # in turns, so that a slow minute slows all
                    took = await mesh.change(turn, write)
                    if turn >= WARM:
                        whole.setdefault((what, mesh.size), []).append(
                            sum(took[stage] for stage in took if stage not in (*BYTES, "told"))
                        )
                        for stage, seconds in took.items():
                            stages[mesh.size, stage].append(seconds)
            for size in sizes:
                yield row(NAME, f"{what} of {size:,}", whole[what, size], "ms")
            target = TARGET if sizes is SIZES else None
            least, most = whole[what, sizes[0]], whole[what, sizes[-1]]
            yield ratios(NAME, f"{what}: {sizes[-1]:,} to {sizes[0]:,}", most, least, target)
            for size in (sizes[0], sizes[-1]):
                for stage in [stage for of, stage in stages if of == size]:
                    yield row(NAME, f"{what} of {size:,} … {_WORDS.get(stage, stage)}", stages[size, stage], "ms")


_WORDS = {"assemble": "assemble (apart)", "send": "send (apart)", "told": "findings told, later (apart)"}


class _Mesh:
    """A server of so many services, without its sockets, and two clients."""

    def __init__(self, directory: Path, size: int) -> None:
        self.size = size
        self._files = trees.services(directory, size)
        self._app = App(Settings((str(directory),), http=None), told=lambda problem, is_new: None)
        decision = self._app._load([])
        self._app.fleet.load(decision.world, self._app.admission.revision, decision.before)
        self._clients = [
            _Client(self._app, introduce("sidecar~127.0.0.1~bench.shop~shop.svc.cluster.local", {})),
            _Client(
                self._app,
                introduce("router~127.0.0.1~bench.shop~shop.svc.cluster.local", {"LABELS": GATEWAY_LABELS}),
            ),
        ]
        self._app._tell()
        gc.collect()
        gc.freeze()

    async def change(self, turn: int, write: Callable[[int, int], str]) -> dict[str, float]:
        """Changes one service; the processor seconds of each stage."""
        number = turn * 7 % self.size
        trees.save(self._files[number], write(number, turn))
        stages = Stages(time.process_time)
        with stages.wrapped(of_a_change()):
            began = time.process_time()
            await self._app._take(Changed(frozenset((str(self._files[number]),)), rescan=False, at=time.monotonic()))
            sent = sum(client.write() for client in self._clients)
            took = time.process_time() - began
        if not sent:
            raise RuntimeError("the change was not sent to anybody")
        for client in self._clients:
            client.acknowledge()
        seconds = dict(stages.seconds)
        seconds["other"] = took - sum(seconds.values())
        assert self._app._report is not None
        self._app._report.cancel()
        began = time.process_time()
        self._app._tell()
        seconds["told"] = time.process_time() - began
        return seconds


class _Client:
    """A delta client that has everything and acknowledges everything: a Session of the fleet."""

    def __init__(self, app: App, proxy: Proxy) -> None:
        self.proxy = proxy
        self.previous = Snapshot()
        self.proofs = TRUST
        self.peer = Peer(Channel.SOCKET)
        self.aggregated = True
        self._sends: list[Send] = []
        self._stream = Stream(Variant.DELTA, app.fleet.join(proxy, self))
        for type_url in (names.CLUSTER, names.ENDPOINT, names.LISTENER, names.ROUTE):
            self._do(self._stream.handle(Requested(type_url, subscribe=("*",)), time.monotonic()))
        while self._sends:
            self.write()
            self.acknowledge()

    def publish(self, snapshot: Snapshot, change: Change) -> None:
        self._do(self._stream.handle(Published(snapshot, change), time.monotonic()))

    def close(self, code: str, detail: str) -> None:
        raise AssertionError(detail)

    def served(self) -> Snapshot:
        return self._stream.served()

    @property
    def rests(self) -> bool:
        return self._stream.rests

    def inventory(self) -> list[Holding]:
        return self._stream.inventory()

    def status(self) -> ProxyStatus:
        return ProxyStatus(self.proxy.id, "", "", variant="delta", peer="", version="", connected=True, types={})

    def write(self) -> int:
        """Makes the bytes of what is to be sent; how many."""
        return sum(len(codec.delta_response(send, b"")) for send in self._sends)

    def acknowledge(self) -> None:
        """Says yes to everything that was written."""
        sends, self._sends = self._sends, []
        for send in sends:
            self._do(self._stream.handle(Requested(send.type_url, response_nonce=send.nonce), time.monotonic()))

    def _do(self, commands: list[Command]) -> None:
        self._sends += [command for command in commands if isinstance(command, Send)]
