"""Whole servers and clients that refuse: what becomes of the documents, and who else feels it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from envoy.config.route.v3 import route_pb2
from legation.app import App
from legation.names import ROUTE
from legation.settings import Settings
from transport.wire import DELTA, Wire

SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
"""


def rule(mark: str) -> str:
    """A rule whose route has a name by which it is known."""
    return f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: red}}
spec:
  hosts: [red.example]
  gateways: [edge]
  http: [{{name: {mark}, route: [{{destination: {{host: a.test}}}}]}}]
"""


def mark_of(table: bytes) -> str:
    found = route_pb2.RouteConfiguration.FromString(table)
    return found.virtual_hosts[0].routes[0].name if found.virtual_hosts else "none"


class Client(Wire):
    """One that asks for the routes of the gateway, and refuses what is marked so."""

    def __init__(self, address: str, name: str, refuses: Callable[[str], bool]) -> None:
        super().__init__(address, DELTA, f"router~127.0.0.1~{name}.default~default.svc.cluster.local")
        self.refuses = refuses
        self.got: list[str] = []
        self.has = ""
        self.news = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def runs(self) -> None:
        await self.asks(ROUTE, "http.8080")
        while True:
            response = await self.gets(within=60)
            marks = [mark_of(one.resource.value) for one in response.resources]
            self.got += marks
            await self.answers.wait()
            if any(map(self.refuses, marks)):
                await self.asks(ROUTE, error=f"I do not like {', '.join(marks)}", response_nonce=response.nonce)
            else:
                self.has = marks[0] if marks else self.has
                await self.acks(response)
            self.news.set()

    async def until_has(self, mark: str) -> None:
        await self.until(lambda: self.has == mark)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not is_so():
                self.news.clear()
                await self.news.wait()


class Place:
    """A folder, servers for it one after the other, and clients."""

    def __init__(self, base: Path) -> None:
        self.folder, self.state = base / "mesh", base / "state"
        self.folder.mkdir()
        (self.folder / "service.yaml").write_text(SERVICE)
        self.tasks: list[asyncio.Task[None]] = []
        self.clients: list[Client] = []

    def writes(self, mark: str) -> None:
        beside = self.folder / ".red"
        beside.write_text(rule(mark))
        beside.replace(self.folder / "red.yaml")

    def app(self) -> App:
        return App(Settings((str(self.folder),), xds=("127.0.0.1:0",), http=None, state=self.state, drain=0))

    async def client(self, app: App, name: str, refuses: Callable[[str], bool] = lambda mark: "bad" in mark) -> Client:
        client = Client(app.xds[0], name, refuses)
        self.clients.append(client)
        self.tasks.append(asyncio.create_task(client.runs()))
        return client

    async def held(self, app: App, many: int = 1) -> list[str]:
        """Waits until so many documents are held, by what is told of them."""
        async with asyncio.timeout(10):
            while len(app.held()) != many:
                async with app.changed:
                    await app.changed.wait()
        return [problem.message for problem in app.held()]

    async def told(self, is_so: Callable[[], bool]) -> None:
        """Waits until the server has read what a client said."""
        for _ in range(1000):
            if is_so():
                return
            await asyncio.sleep(0.01)
        pytest.fail("it never came to be")

    async def leaves(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for client in self.clients:
            await client.channel.close()
        self.tasks, self.clients = [], []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Without an Envoy on this machine to be asked."""
    monkeypatch.setenv("LEGATION_ENVOY", "there-is-none")
    place = Place(tmp_path)
    place.writes("good")
    return place


async def test_the_only_client_is_believed_and_a_fix_is_tried_at_once(place: Place) -> None:
    async with place.app() as app:
        client = await place.client(app, "a")
        await client.until_has("good")
        place.writes("bad")
        (said,) = await place.held(app)
        assert "Envoy refuses the route table http.8080: I do not like bad" in said
        place.writes("better")
        await client.until_has("better")
        assert app.held() == []
        assert client.got == ["good", "bad", "good", "better"]
        await place.leaves()


async def test_one_odd_client_holds_back_nobody(place: Place) -> None:
    """It refuses everything; the others get every version, and nothing is held."""
    async with place.app() as app:
        other = await place.client(app, "other")
        await other.until_has("good")
        odd = await place.client(app, "odd", lambda _: True)
        for mark in ("one", "two", "three"):
            place.writes(mark)
            await other.until_has(mark)
            await odd.until(lambda mark=mark: odd.got[-1:] == [mark])  # type: ignore[misc]
        assert app.held() == []
        assert odd.has == ""
        await place.told(lambda: any(status.types["rds"].refused for status in app.proxies()))
        (status,) = (one for one in app.proxies() if "odd" in one.id)
        assert status.types["rds"].refused == {"http.8080": "I do not like three"}
        await place.leaves()


async def test_two_of_three_are_believed_after_a_while_and_the_first_who_takes_it_lifts_it(place: Place) -> None:
    """The third takes its time; what it takes in the end is in service again, for those who do not refuse it."""
    async with place.app() as app:
        first, second = await place.client(app, "a"), await place.client(app, "b")
        third = await place.client(app, "c", lambda _: False)
        for client in place.clients:
            await client.until_has("good")
        third.answers.clear()
        place.writes("bad")
        await place.held(app)
        for client in (first, second):
            await client.until(lambda client=client: client.got == ["good", "bad", "good"])  # type: ignore[misc]
        third.answers.set()
        await third.until(lambda: third.got == ["good", "bad", "good", "bad"])
        await place.held(app, 0)
        place.writes("better")
        for client in place.clients:
            await client.until_has("better")
        assert first.got == ["good", "bad", "good", "better"]
        await place.leaves()


async def test_a_restart_remembers_and_sends_it_to_nobody(place: Place) -> None:
    async with place.app() as app:
        client = await place.client(app, "a")
        await client.until_has("good")
        place.writes("bad")
        await place.held(app)
        await client.until_has("good")
        await place.leaves()
    async with place.app() as app:
        newcomer = await place.client(app, "newcomer")
        await newcomer.until_has("good")
        assert newcomer.got == ["good"]
        assert len(app.held()) == 1
        place.writes("better")
        await newcomer.until_has("better")
        await place.leaves()


async def test_a_memory_that_is_garbled_is_left_out(place: Place) -> None:
    async with place.app() as app:
        app._judge.recall('[["envoy", "", "x"]]')
        app._judge.recall("garbage")
        app._judge.recall('{"a": 1}')
        app._judge.recall(None)
        client = await place.client(app, "a")
        await client.until_has("good")
        await place.leaves()
