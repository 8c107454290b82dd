"""The state directory on disks that are full, read-only or damaged: nothing of it stops a start or the serving."""

from __future__ import annotations

import contextlib
import functools
import subprocess
from pathlib import Path

import pytest

from .mesh import Mesh, Proxy, eventually, gateway, rule, service

pytestmark = pytest.mark.envoy


@functools.cache
def has_mounts() -> bool:
    """Whether a file system of one's own can be had here."""
    probe = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif("not has_mounts()", reason="no mount namespace here")


def small(mesh: Mesh, *more: str) -> str:
    """A disk of half a megabyte in the place of the state directory, with what was there before."""
    at = mesh.state
    return "\n".join(
        (
            f"cp -a {at} {at}.before",
            f"mount -t tmpfs -o size=512k,mode=0700 tmpfs {at}",
            f"cp -a {at}.before/. {at}",
            *more,
        )
    )


def disk(mesh: Mesh) -> Path:
    """The server's disk, seen from outside."""
    return Path(f"/proc/{mesh.server.pid}/root{mesh.state}")


def fill(path: Path) -> None:
    """With as much as there is room for."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def begun(mesh: Mesh) -> tuple[int, int]:
    """Something was accepted; then the server ended, and a typo was saved."""
    one, two = await mesh.stand_in("one-v1"), await mesh.stand_in("two-v1")
    mesh.write("mesh.yaml", gateway(80), service("one", one), service("two", two))
    mesh.write("red.yaml", rule("red", "one"))
    mesh.write("blue.yaml", rule("blue", "one"))
    server = await mesh.serve()
    await server.interrupt()
    typo(mesh)
    return one, two


def typo(mesh: Mesh) -> None:
    mesh.write("red.yaml", {**rule("red", "one"), "spec": {"hosts": ["red.example"], "htp": []}})


async def served(mesh: Mesh) -> Proxy:
    """The version that was accepted before is in service, and a change acts."""
    proxy = await mesh.gateway(80)
    await proxy.at(80).workload("one-v1", host="red.example")
    await proxy.at(80).workload("one-v1", host="blue.example")
    large = {"metadata": {"annotations": {"note": "x" * 100_000}, "name": "blue", "namespace": "default"}}
    mesh.write("blue.yaml", {**rule("blue", "two"), **large})
    await proxy.at(80).workload("two-v1", host="blue.example")
    return proxy


async def told(mesh: Mesh, *codes: str) -> None:
    """Returns once just these findings about the disk are told."""

    def found(said: dict[str, list[dict[str, str]]]) -> list[str]:
        return sorted({one["code"] for one in said["problems"] if one["code"].startswith("LEG002")})

    await eventually(mesh.problems, lambda said: found(said) == sorted(codes))


@needs_mounts
async def test_a_full_disk_stops_neither_a_start_nor_the_serving(single: Mesh) -> None:
    """What could not be saved is saved as soon as there is room, without a restart."""
    await begun(single)
    await single.serve(mounts=small(single, f"cat /dev/zero > {single.state}/ballast || true"))
    await single.server.says("LEG0024")
    fill(disk(single) / "more")  # the start itself may have made room
    proxy = await served(single)
    await told(single, "LEG0024")
    for name in ("ballast", "more"):
        (disk(single) / name).unlink()
    single.write("blue.yaml", rule("blue", "one"))
    await proxy.at(80).workload("one-v1", host="blue.example")
    await told(single)


@needs_mounts
async def test_a_disk_that_fills_up_does_not_stop_the_serving(single: Mesh) -> None:
    """While it runs, too."""
    await begun(single)
    await single.serve(mounts=small(single))
    await told(single)
    fill(disk(single) / "ballast")
    await served(single)
    await told(single, "LEG0024")


@needs_mounts
async def test_a_read_only_directory_stops_neither_a_start_nor_the_serving(single: Mesh) -> None:
    """What was accepted is read all the same."""
    await begun(single)
    await single.serve(mounts=small(single, f"mount -o remount,ro {single.state}"))
    await told(single, "LEG0022")
    await served(single)
    await told(single, "LEG0022")


@needs_mounts
async def test_a_directory_that_cannot_be_made_stops_no_start(single: Mesh) -> None:
    """Then there is nothing from before, and what is valid is served."""
    single.write("mesh.yaml", gateway(80), service("one", await single.stand_in("one-v1")), rule("red", "one"))
    single.state = single.folder.parent / "disk" / "state"
    single.state.parent.mkdir()
    await single.serve(mounts=f"mount -t tmpfs -o ro tmpfs {single.state.parent}")
    await told(single, "LEG0022")
    await (await single.gateway(80)).at(80).workload("one-v1", host="red.example")


@pytest.mark.parametrize("harm", ["truncated", "garbled", "empty"])
async def test_a_damaged_state_stops_no_start(single: Mesh, harm: str) -> None:
    """It is set aside and told; the typo's document has no earlier version then, and all others are served."""
    await begun(single)
    path = single.state / "state.sqlite"
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "garbled": b"x" * len(data), "empty": b""}[harm])
    await single.serve()
    assert "LEG0023" in single.server.text
    proxy = await single.gateway(80)
    await proxy.at(80).workload("one-v1", host="blue.example")
    assert list(single.state.glob("*.aside"))


async def test_without_a_state_directory_nothing_is_written(single: Mesh) -> None:
    """`--state-dir none`."""
    await begun(single)
    before = {path: path.read_bytes() for path in single.state.iterdir()}
    await single.serve("--state-dir", "none")
    proxy = await single.gateway(80)
    await proxy.at(80).workload("one-v1", host="blue.example")
    assert (await proxy.at(80).ask(host="red.example")).status == 404
    assert before == {path: path.read_bytes() for path in single.state.iterdir()}
