"""Accepted versions on a real disk: kept through deaths, decay and full disks, and kept from others."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from legation.ingest import state_directory
from legation.ingest.state import DATABASE, Accepted, State, StateError, StateUnavailable, default_directory, rescued
from legation.model.meta import Key
from legation.problems import Problem

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def document(name: str, text: str = "spec: {}\n", kind: str = "VirtualService") -> Accepted:
    return Accepted(Key(kind, "default", name), f"conf/{name}.yaml", 3, text)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "of" / "one"


@contextlib.contextmanager
def opened(directory: Path, *watched: Path, keep_secrets: bool = False) -> Iterator[State]:
    state = State.open(directory, watched, keep_secrets=keep_secrets)
    try:
        yield state
    finally:
        state.close()


def refused(directory: Path, *watched: Path) -> Problem:
    with pytest.raises(StateError) as caught:
        State.open(directory, watched)
    assert "--state-dir" in caught.value.problem.hint
    return caught.value.problem


def test_what_was_saved_is_loaded_after_a_restart(directory: Path) -> None:
    a, b, c = document("a", "text: ä\0\n"), document("b"), Accepted(Key("Namespace", "", "c"), "x.yaml", 1, "")
    with opened(directory) as state:
        assert state.load() == []
        assert state.save([a, b, c], []) is None
        assert state.load() == [c, a, b]
    with opened(directory) as state:
        assert state.load() == [c, a, b]
        assert state.problems == []


def test_a_save_replaces_and_removes(directory: Path) -> None:
    with opened(directory) as state:
        state.save([document("a"), document("b"), document("c")], [])
        assert state.save([document("a", "new"), document("c", "back")], [document("b").key, document("c").key]) is None
        assert state.load() == [document("a", "new"), document("c", "back")]


def test_only_the_owner_reads_it(directory: Path) -> None:
    old = os.umask(0)
    try:
        with opened(directory) as state:
            state.save([document("a")], [])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert modes.keys() >= {DATABASE, f"{DATABASE}-wal", state_directory.LOCK}
            assert set(modes.values()) == {0o600}
    finally:
        os.umask(old)


def test_a_directory_that_became_open_is_closed_again(directory: Path) -> None:
    with opened(directory):
        pass
    directory.chmod(0o755)
    (directory / DATABASE).chmod(0o644)
    with opened(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / DATABASE).stat().st_mode) == 0o600


def test_other_peoples_directories_are_not_taken(tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir(mode=0o755)
    (used / "thesis.txt").touch()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for directory in (used, shared):
        mode = directory.stat().st_mode
        assert refused(directory).code == "LEG0022"
        assert directory.stat().st_mode == mode


@as_root
def test_a_directory_of_another_user_is_refused(directory: Path) -> None:
    directory.mkdir(parents=True)
    os.chown(directory, 12345, -1)
    assert "belongs to user 12345" in refused(directory).message


def test_a_directory_that_cannot_be_made_is_told_and_stops_no_start(plain_user: Path) -> None:
    (plain_user / "locked").mkdir(mode=0o500)
    with pytest.raises(StateUnavailable) as caught:
        State.open(plain_user / "locked/state", [])
    assert caught.value.problem.code == "LEG0022"


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    assert refused(tmp_path / "state").code == "LEG0022"


def test_it_never_lies_inside_a_watched_dir(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    (tmp_path / "link").symlink_to("conf")
    for directory in (conf, conf / ".state", tmp_path / "link/state"):
        assert "is watched" in refused(directory, tmp_path / "other", conf).message
    assert list(conf.iterdir()) == []


def test_a_second_server_is_refused_by_name(directory: Path) -> None:
    with opened(directory):
        problem = refused(directory)
        assert problem.code == "LEG0021"
        assert f"process {os.getpid()}" in problem.message
    with opened(directory):
        pass


CHILD = """
import itertools, sys
from pathlib import Path
from legation.ingest.state import Accepted, State
from legation.model.meta import Key
state = State.open(Path(sys.argv[1]), [])
for generation in itertools.count(int(sys.argv[2])):
    problem = state.save(
        [Accepted(Key("K", "ns", f"n{i}"), "f.yaml", generation, str(generation) * 200) for i in range(50)],
        [Key("K", "ns", f"old{generation}")],
    )
    assert problem is None, problem
    print(generation, flush=True)
"""


def test_a_death_at_any_moment_leaves_whole_saves(directory: Path) -> None:
    chance = random.Random(1)
    seen = 0
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(directory), str(seen + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        said = 0
        for line in itertools.islice(child.stdout, chance.randint(1, 30)):
            said = int(line)
        child.send_signal(signal.SIGKILL)
        child.wait()
        said = max(
            [said, *(int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n"))]
        )
        child.stdout.close()
        # The lock went with it, what it said was saved is there, and no save is there by half.
        with opened(directory) as state:
            (generation,) = {accepted.line for accepted in state.load()}
            assert len(state.load()) == 50
            assert generation >= said
            assert state.problems == []
            seen = generation


def test_a_lock_is_not_inherited(directory: Path) -> None:
    with opened(directory):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with opened(directory):
            pass
    finally:
        child.communicate(b"\n")


def garbled(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.randint(1, 600)) + data[at + 600 :]


def truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


@pytest.mark.parametrize("harm", [garbled, truncated, lambda data, chance: b"", lambda data, chance: b"not a database"])
@pytest.mark.parametrize("seed", range(10))
def test_no_damage_stops_a_start(directory: Path, harm: object, seed: int) -> None:
    rows = [document(f"n{number:03}", f"text: {number}\n" * 20) for number in range(200)]
    with opened(directory) as state:
        state.save(rows, [])
    path = directory / DATABASE
    sound = path.read_bytes()
    assert callable(harm)
    path.write_bytes(harm(sound, random.Random(seed)))
    with opened(directory) as state:
        loaded = state.load()
        # Every row that is loaded is one that was saved, to the letter; what is missing was told.
        assert set(loaded) <= set(rows)
        assert len(loaded) == len(rows) or [problem.code for problem in state.problems] == ["LEG0023"]
        assert state.save(rows, []) is None
    with opened(directory) as state:
        assert state.load() == rows
        assert state.problems == []


def test_a_foreign_or_newer_database_is_set_aside_whole(directory: Path) -> None:
    with opened(directory):
        pass
    path = directory / DATABASE
    for number, change in enumerate(("pragma user_version = 99", "pragma application_id = 1", "drop table accepted")):
        database = sqlite3.connect(path)
        database.execute("create table theirs (x)")
        database.execute(change)
        database.close()
        with opened(directory) as state:
            if "drop" not in change:  # a missing table of ours is made again
                assert [problem.code for problem in state.problems] == ["LEG0023"]
                assert len(list(directory.glob("*.aside"))) == number + 1
            assert state.save([document("a")], []) is None


def test_few_are_kept_aside(directory: Path) -> None:
    for _ in range(6):
        with opened(directory):
            pass
        (directory / DATABASE).write_bytes(b"not a database")
    assert len(list(directory.glob("*.aside"))) == 3


def test_a_link_in_the_place_of_the_database_is_not_followed(directory: Path, tmp_path: Path) -> None:
    with opened(directory):
        pass
    precious = tmp_path / "precious"
    precious.write_text("x")
    (directory / DATABASE).unlink()
    (directory / DATABASE).symlink_to(precious)
    with opened(directory) as state:
        assert [problem.code for problem in state.problems] == ["LEG0023"]
    assert precious.read_text() == "x"


def test_a_row_that_decayed_is_left_out_alone(directory: Path) -> None:
    with opened(directory) as state:
        state.save([document("a"), document("b"), document("c"), document("d")], [])
    database = sqlite3.connect(directory / DATABASE)
    with database:
        database.execute("update accepted set text = 'spec: {x}' where name = 'a'")
        database.execute("update accepted set text = cast(x'ff' as text) where name = 'b'")
        database.execute("update accepted set line = 'x' where name = 'c'")
    database.close()
    with opened(directory) as state:
        assert state.load() == [document("d")]
        (problem,) = state.problems
        assert "3 accepted versions" in problem.message


def test_a_database_that_another_program_holds_is_in_use(directory: Path) -> None:
    with opened(directory) as state:
        state.save([document("a")], [])
    database = sqlite3.connect(directory / DATABASE, isolation_level=None)
    database.execute("begin immediate")
    try:
        assert refused(directory).code == "LEG0021"
    finally:
        database.close()
    with opened(directory) as state:
        assert state.load() == [document("a")]


def test_a_full_disk_is_told_and_made_good_later(directory: Path) -> None:
    with opened(directory) as state:
        state.save([document("a"), document("b")], [])
        state._database.execute("pragma max_page_count = 1")
        problem = state.save([document("c", "x" * 1_000_000)], [document("a").key])
        assert problem is not None
        assert (problem.code, "full" in problem.message) == ("LEG0024", True)
        assert state.load() == [document("a"), document("b")]
        state._database.execute("pragma max_page_count = 1000000")
        assert state.save([document("b", "new")], []) is None
        assert state.load() == [document("b", "new"), document("c", "x" * 1_000_000)]


def with_full_disk(what: str, *arguments: str) -> str:
    """Runs code in a process whose disk is full: no file may become longer than it is."""
    code = f"""
import resource, sys
from pathlib import Path
from legation.ingest.state import Accepted, State
from legation.model.meta import Key
directory = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
{what}
"""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip


@pytest.mark.parametrize("keep_secrets", [True, False])
def test_a_full_disk_stops_no_start(directory: Path, keep_secrets: bool) -> None:
    """What is there is read; what cannot be written is told, and written when it can be."""
    with opened(directory, keep_secrets=True) as state:
        state.save([document("a"), document("s", kind="Secret")], [])
    said = with_full_disk(
        f"""
state = State.open(directory, [], keep_secrets={keep_secrets})
print([one.key.name for one in state.load()], [one.code for one in state.problems])
problem = state.save([Accepted(Key("VirtualService", "default", "b"), "x.yaml", 1, "")], [])
print(problem.code)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(state.save([], []))
""",
        str(directory),
    )
    names = ["s", "a"] if keep_secrets else ["a"]
    assert said.splitlines() == [f"{names} ['LEG0024']", "LEG0024", "None"]
    with opened(directory, keep_secrets=True) as state:
        assert [one.key.name for one in state.load()] == (["s", "a", "b"] if keep_secrets else ["a", "b"])


def test_a_full_disk_stops_no_first_start(directory: Path) -> None:
    directory.mkdir(parents=True)
    said = with_full_disk(
        """
try:
    state = State.open(directory, [])
    print(state.load(), [one.code for one in state.problems])
except Exception as error:
    print(type(error).__name__)
""",
        str(directory),
    )
    assert said.strip() in ("[] ['LEG0024']", "StateUnavailable")


def test_what_is_on_a_disk_that_cannot_be_written_is_read_all_the_same(directory: Path) -> None:
    assert rescued(directory) == ([], [])
    with opened(directory, keep_secrets=True) as state:
        state.save([document("a"), document("s", kind="Secret")], [])
        assert rescued(directory) == ([document("a")], [])  # from the log that is not yet in the database
    assert rescued(directory, keep_secrets=True) == ([document("s", kind="Secret"), document("a")], [])
    (directory / DATABASE).write_bytes(b"not a database")
    rows, problems = rescued(directory)
    assert (rows, [(one.code, one.file) for one in problems]) == ([], [("LEG0023", str(directory / DATABASE))])
    assert (directory / DATABASE).read_bytes() == b"not a database"


def test_a_database_that_is_read_only_or_removed_is_told(directory: Path) -> None:
    with opened(directory) as state:
        state._database.execute("pragma query_only = on")
        problem = state.save([document("a")], [])
        assert problem is not None
        assert "readonly" in problem.message
        state._database.execute("pragma query_only = off")
        assert state.save([], []) is None
        assert state.load() == [document("a")]
        (directory / DATABASE).unlink()
        problem = state.save([document("b")], [])
        assert problem is not None
        assert "removed" in problem.message


def test_a_text_that_cannot_be_kept_is_told(directory: Path) -> None:
    with opened(directory) as state:
        assert state.save([document("a", "\ud800")], []) is not None


def test_secrets_are_kept_on_request_only(directory: Path) -> None:
    secret = document("s", "tls.key: hunter2", kind="Secret")
    with opened(directory) as state:
        assert state.save([secret, document("a")], []) is None
        assert state.load() == [document("a")]
    with opened(directory, keep_secrets=True) as state:
        assert state.save([secret], []) is None
        assert state.load() == [secret, document("a")]
    with opened(directory) as state:
        assert state.load() == [document("a")]
    assert not [path for path in directory.iterdir() if b"hunter2" in path.read_bytes()]


def test_notes_are_kept_beside(directory: Path) -> None:
    with opened(directory) as state:
        assert state.note("refused") is None
        assert state.set_notes({"refused": "[1]", "served": "ä"}) is None
        assert state.set_notes({"refused": None}) is None
        assert (state.note("refused"), state.note("served")) == (None, "ä")
    with opened(directory) as state:
        assert (state.note("refused"), state.note("served")) == (None, "ä")


def test_many_threads_may_save(directory: Path) -> None:
    documents = [document(f"n{number:03}") for number in range(200)]
    with opened(directory) as state:
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda one: state.save([one], []), documents)) == {None}
        assert state.load() == documents


def test_the_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    one = default_directory(["conf", "more"])
    assert one.parent == Path("/xdg/legation")
    assert one == default_directory([f"{tmp_path}/more/", "./conf", "conf"])
    assert one != default_directory(["conf"])
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", unset)
        monkeypatch.setenv("HOME", "/home/somebody")
        assert default_directory(["conf"]).parent == Path("/home/somebody/.local/state/legation")
