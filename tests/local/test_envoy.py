"""Real Envoys as children: started, watched, stopped, and gone with whoever started them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from legation.bootstrap import Options, bootstrap
from legation.local import envoy as local
from legation.local.envoy import Envoy, EnvoyDied, EnvoyMissing, find
from legation.model.proxy import Role

pytestmark = pytest.mark.envoy

STATIC = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: "front"
    address: {socket_address: {address: "127.0.0.1", port_value: 0}}
    filter_chains:
    - filters:
      - name: "echo"
        typed_config: {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}
"""


def nobody_serves() -> str:
    """The address of a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


async def test_it_is_started_asked_and_stopped() -> None:
    async with await Envoy.start(STATIC) as envoy:
        await envoy.ready()
        found = await envoy.listening("front")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(found["front"].rpartition(":")[2]))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        status, text = await envoy.ask("/server_info")
        assert status == 200
        assert '"version"' in text
        assert (await envoy.ask("/nonsense"))[0] == 404
        assert (await envoy.ask("/healthcheck/fail", "POST"))[0] == 200
        assert (await envoy.ask("/ready"))[0] == 503
    assert await envoy.wait() == 0
    assert await envoy.stop() == 0
    with pytest.raises(OSError):
        await envoy.ask("/ready")


async def test_it_leaves_no_file_even_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with await Envoy.start(STATIC):
        assert os.listdir(tmp_path) == []
    with pytest.raises(EnvoyDied):
        await Envoy.start("nonsense: 1\n")
    assert os.listdir(tmp_path) == []


async def test_it_leads_a_process_group_of_its_own() -> None:
    async with await Envoy.start(STATIC) as envoy:
        assert os.getpgid(envoy.pid) == envoy.pid != os.getpgid(0)


async def test_its_admin_may_be_a_socket_file(tmp_path: Path) -> None:
    options = Options(Role.GATEWAY, "edge", admin=f"unix:{tmp_path}/admin.sock")
    async with await Envoy.start(bootstrap(options)) as envoy:
        assert envoy.admin == options.admin
        assert (await envoy.ask("/server_info"))[0] == 200


async def test_it_is_not_ready_before_it_has_its_first_configuration() -> None:
    options = Options(Role.GATEWAY, "edge", admin="127.0.0.1:0", xds=nobody_serves())
    async with await Envoy.start(bootstrap(options)) as envoy:
        with pytest.raises(TimeoutError, match="until it is ready"):
            await envoy.ready(within=0.1)
        assert await envoy.listeners() == {}


async def test_a_refused_bootstrap_is_an_early_death_with_its_last_words() -> None:
    with pytest.raises(EnvoyDied, match="nonsense") as died:
        await Envoy.start("nonsense: 1\n")
    assert died.value.status == 1


async def test_a_port_in_use_is_an_early_death_with_its_last_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EnvoyDied, match="Address already in use"):
            await Envoy.start(bootstrap(Options(Role.GATEWAY, "edge", admin=taken)))


async def test_a_death_while_we_wait_is_told() -> None:
    options = Options(Role.GATEWAY, "edge", admin="127.0.0.1:0", xds=nobody_serves())
    async with await Envoy.start(bootstrap(options)) as envoy:
        waiting = asyncio.create_task(envoy.listening("never"))
        await asyncio.sleep(0)
        os.kill(envoy.pid, signal.SIGKILL)
        with pytest.raises(EnvoyDied) as died:
            await waiting
        assert died.value.status == -signal.SIGKILL


async def test_warnings_are_shown_and_what_everybody_knows_is_not() -> None:
    shown: list[str] = []
    heard = asyncio.Event()

    def show(line: str) -> None:
        shown.append(line)
        heard.set()

    options = Options(Role.GATEWAY, "edge", admin="127.0.0.1:0", xds=nobody_serves())
    async with await Envoy.start(bootstrap(options), show=show):
        async with asyncio.timeout(30):
            await heard.wait()
    assert "gRPC config stream to legation-xds closed" in shown[0]
    assert not [line for line in shown if "SIGTERM" in line or "configured limit" in line]


async def test_one_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = tmp_path / "envoy"
    deaf.write_text(
        textwrap.dedent(f"""\
        #!{sys.executable}
        import http.server, signal, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        class Ready(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
        server = http.server.HTTPServer(("127.0.0.1", 0), Ready)
        open(sys.argv[sys.argv.index("--admin-address-path") + 1], "w").write("127.0.0.1:%d" % server.server_port)
        server.serve_forever()
        """)
    )
    deaf.chmod(0o755)
    envoy = await Envoy.start("", binary=deaf)
    assert await envoy.stop(grace=0.1) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_no_envoy_is_left_behind_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", f"""
import asyncio
from legation.local.envoy import Envoy
async def main():
    envoy = await Envoy.start({STATIC!r})
    print(envoy.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    handle = os.pidfd_open(child)
    try:
        assert Path(f"/proc/{child}/exe").resolve() == find().resolve()
        parent.kill()
        readable, _, _ = select.select([handle], [], [], 30)  # a pidfd is readable once its process has ended
        assert readable
    finally:
        parent.kill()
        parent.wait()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


def test_the_binary_is_the_chosen_one_then_the_wheels_then_the_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert find().name == "envoy"
    assert "_bin" in find().parts
    mine = tmp_path / "envoy"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("LEGATION_ENVOY", str(mine))
    assert find() == mine
    monkeypatch.setenv("LEGATION_ENVOY", str(tmp_path / "none"))
    with pytest.raises(EnvoyMissing, match="LEGATION_ENVOY"):
        find()
    monkeypatch.delenv("LEGATION_ENVOY")

    def not_installed(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(local, "distribution", not_installed)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find() == mine
    mine.unlink()
    with pytest.raises(EnvoyMissing, match=r"pip install 'legation\[envoy\]'"):
        find()
