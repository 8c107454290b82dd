"""What a server remembers of what it served last: over a restart, and over damage."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from legation import served
from legation.names import CLUSTER, LISTENER, SECRET
from legation.problems import Problem
from legation.served import Served
from legation.snapshot.snapshot import Resource, Snapshot, evolve, resource, snapshot


def one(name: str, content: str = "1", url: str = CLUSTER, to: str = "") -> Resource:
    return resource(url, name, f"{name} {content}".encode(), [(CLUSTER, to)] if to else ())


class Run:
    """One server's life with the memory: what it writes is on the disk at once."""

    def __init__(self, directory: Path) -> None:
        self.told: list[Problem] = []
        self.memory = Served(directory, lambda work: work(), self.told.append)
        self.now = Snapshot()

    def joins(self, proxy: str, *resources: Resource, scope: str = "scope") -> None:
        self.now = snapshot(resources)
        self.memory.joined(proxy, scope, self.now)

    def changes(self, *put: Resource, removed: str = "") -> None:
        before, gone = self.now, [(CLUSTER, removed)] if removed else []
        self.now, change = evolve(before, put, gone)
        self.memory.changed("scope", before, self.now, change)

    def remembers(self, proxy: str) -> dict[str, bytes]:
        found = self.memory.previous(proxy)
        return {one.name: one.body for table in found.resources.values() for one in table.values()}


def test_the_next_server_knows_what_a_client_had_and_what_it_may_still_be_using(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.joins("p", one("a"), one("b"), one("l", url=LISTENER, to="a"))
    run.changes(one("c"), one("b", "2"), removed="a")
    run.memory.close()
    run = Run(tmp_path)
    assert run.remembers("stranger") == {}
    assert run.remembers("p") == {"a": b"a 1", "b": b"b 2", "c": b"c 1", "l": b"l 1"}
    assert run.remembers("p") == {}, "later the server knows better"


def test_a_resource_refers_to_what_it_or_the_one_before_it_referred_to(tmp_path: Path) -> None:
    """Whether the client took the last one is not known."""
    run = Run(tmp_path)
    run.joins("p", one("l", "1", LISTENER, "a"))
    run.changes(one("l", "2", LISTENER, "b"))
    run.memory.close()
    listener = Run(tmp_path).memory.previous("p").of(LISTENER)["l"]
    assert (listener.body, listener.refs) == (b"l 2", {(CLUSTER, "a"), (CLUSTER, "b")})


def test_what_was_removed_long_ago_is_forgotten_and_so_is_what_went_while_no_server_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.joins("p", one("a"), one("b"), one("c"))
    run.changes(removed="a")
    run.memory.close()
    clock = served.time.time()
    monkeypatch.setattr(served.time, "time", lambda: clock + served.LATELY + 1)
    run = Run(tmp_path)
    assert run.remembers("p").keys() == {"b", "c"}
    run.joins("p", one("c"))
    run.memory.close()
    run = Run(tmp_path)
    assert run.remembers("p").keys() == {"b", "c"}
    run.memory.close()
    monkeypatch.setattr(served.time, "time", lambda: clock + 2 * served.LATELY + 2)
    assert Run(tmp_path).remembers("p").keys() == {"c"}


def test_a_client_that_moved_to_another_scope_may_have_what_it_had_in_the_old_one(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.joins("p", one("a"))
    run.joins("q", one("a"))
    run.joins("p", one("b"), scope="other")
    run.memory.close()
    run = Run(tmp_path)
    assert run.remembers("p").keys() == {"a", "b"}
    assert run.remembers("q").keys() == {"a"}


def test_a_scope_that_nobody_told_of_for_a_while_is_written_anew(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.joins("p", one("a"), one("b"))
    run.memory.idle("scope")
    run.changes(one("not told"))
    run.joins("q", one("c"))
    run.memory.close()
    assert Run(tmp_path).remembers("q").keys() == {"a", "b", "c"}


def test_a_change_is_on_the_disk_before_it_is_sent_save_behind_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that dies right after it sent something has written it, and an older state never covers a newer one."""
    waiting: deque[Callable[[], None]] = deque()
    memory = Served(tmp_path, waiting.append, lambda _: None)
    monkeypatch.setattr(served, "MUCH", 1)
    first = snapshot([one("a"), one("c")])
    memory.joined("p", "scope", first)
    second, change = evolve(first, [one("a", "2")], [])
    memory.changed("scope", first, second, change)
    assert len(waiting) == 3
    while waiting:
        waiting.popleft()()
    third, change = evolve(second, [one("b", "3")], [])
    memory.changed("scope", second, third, change)
    assert not waiting
    memory.close()
    assert Run(tmp_path).remembers("p") == {"a": b"a 2", "b": b"b 3", "c": b"c 1"}


def test_secrets_are_not_in_it_and_it_is_private(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.joins("p", one("a"), one("s", "the-key", SECRET))
    run.changes(one("s", "the-other-key", SECRET))
    for file in tmp_path.iterdir():
        assert b"-key" not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    run.memory.close()
    assert Run(tmp_path).remembers("p").keys() == {"a"}


@pytest.mark.parametrize("damage", ["garbage", "cut", "foreign", "folder", "link"])
def test_a_file_that_cannot_be_trusted_is_told_and_begun_anew(tmp_path: Path, damage: str) -> None:
    run = Run(tmp_path)
    run.joins("p", *(one(f"{number}") for number in range(500)))
    run.memory.close()
    file = tmp_path / served.DATABASE
    if damage == "garbage":
        file.write_bytes(b"garbage" * 1000)
    elif damage == "cut":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "foreign":
        file.write_bytes(file.read_bytes().replace(b"SGEL", b"ELSE").replace(b"LEGS", b"ELSE"))
    elif damage == "link":
        file.unlink()
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.unlink()
        file.mkdir()
    run = Run(tmp_path)
    assert run.told
    assert {problem.code for problem in run.told} == {"LEG0025"}
    assert run.remembers("p") == {}
    run.joins("p", one("a"))
    run.memory.close()
    if damage != "folder":
        assert Run(tmp_path).remembers("p").keys() == {"a"}
    assert not (tmp_path / "elsewhere").exists()


def test_contents_that_decayed_are_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.joins("p", one("a"), one("b", "treacherous"))
    run.memory.close()
    file = tmp_path / served.DATABASE
    data = file.read_bytes()
    assert data.count(b"treacherous") == 1
    file.write_bytes(data.replace(b"treacherous", b"treach3rous"))
    run = Run(tmp_path)
    assert run.remembers("p").keys() == {"a"}
    assert [problem.code for problem in run.told] == ["LEG0025"]


def test_a_disk_that_is_full_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "PAGES", 12)
    run = Run(tmp_path)
    for number in range(20):
        run.joins(f"p{number}", *(one(f"{number}-{index}", "x" * 1000) for index in range(50)), scope=f"{number}")
    assert [problem.code for problem in run.told] == ["LEG0025"]
    assert run.remembers("p0") == {}


def test_the_latest_scopes_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "SCOPES", 2)
    run = Run(tmp_path)
    for number in range(4):
        run.joins(f"p{number}", one(f"{number}"), scope=f"{number}")
    run.memory.close()
    run = Run(tmp_path)
    assert [bool(run.remembers(f"p{number}")) for number in range(4)] == [False, False, True, True]
