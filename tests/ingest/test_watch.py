"""Watching real files: every way of saving is seen, and nothing is lost or told too early."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import random
import shutil
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from legation.ingest import polling
from legation.ingest import watch as watching_module
from legation.ingest.files import read_files, read_tree
from legation.ingest.inotify import InotifyWatch
from legation.ingest.polling import Observed
from legation.ingest.watch import Changed, watch
from watchdog.observers.inotify_c import InotifyEvent
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="inotify")

PATIENCE = 20.0
"""Seconds after which something that must come is taken as lost."""


class Watcher:
    def __init__(self, news: AsyncGenerator[Changed, None]) -> None:
        self.news = news
        self.first: Changed

    async def next(self) -> Changed:
        return await asyncio.wait_for(anext(self.news), PATIENCE)

    async def until(self, path: Path) -> list[Changed]:
        """All news up to the one that names the path, or asks for a rescan."""
        all_news = [await self.next()]
        while str(path) not in all_news[-1].paths and not all_news[-1].rescan:
            all_news.append(await self.next())
        return all_news


async def save_until_told(file: Path, watcher: Watcher) -> None:
    """Polling begins with a rescan, and the save may be part of that: the next is told by its path."""
    told: set[str] = set()
    while str(file) not in told:
        write_in_place(file, f"new: {os.urandom(8).hex()}\n")
        told |= (await watcher.next()).paths


@asynccontextmanager
async def watched(
    *roots: Path | str, poll: float | None = None, follow_outside: bool = False
) -> AsyncIterator[Watcher]:
    news = watch([str(root) for root in roots], poll=poll, follow_outside=follow_outside)
    async with aclosing(news):
        watcher = Watcher(news)
        watcher.first = await watcher.next()
        assert watcher.first.rescan
        yield watcher
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("legation")]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    root = tmp_path / "conf"
    (root / "sub").mkdir(parents=True)
    for name in ("a.yaml", "b.yaml", "sub/c.yaml"):
        (root / name).write_text("old: 1\n")
    return root


# One save, told by its path


def write_in_place(file: Path, text: str = "new: 1\n") -> None:
    file.write_text(text)


def rename_over(file: Path) -> None:
    fresh = file.with_name(file.name + ".tmp")
    fresh.write_text("new: 1\n")
    fresh.rename(file)


def vim(file: Path) -> None:
    swap, probe, backup = file.with_name(f".{file.name}.swp"), file.with_name("4913"), file.with_name(f"{file.name}~")
    swap.write_bytes(b"swap")
    probe.touch()
    probe.unlink()
    file.rename(backup)
    file.write_text("new: 1\n")
    file.chmod(0o644)
    backup.unlink()
    swap.unlink()


def emacs(file: Path) -> None:
    lock, auto = file.with_name(f".#{file.name}"), file.with_name(f"#{file.name}#")
    lock.symlink_to("user@host.1:2")
    auto.write_text("new")
    shutil.copy(file, file.with_name(f"{file.name}~"))
    file.write_text("new: 1\n")
    auto.unlink()
    lock.unlink()


def code(file: Path) -> None:
    with file.open("r+") as text:
        text.truncate(0)
        text.write("new: 1\n")
        text.flush()
        os.fsync(text.fileno())


def from_outside(file: Path) -> None:
    outside = file.parents[1] / "outside.yaml"
    outside.write_text("new: 1\n")
    outside.rename(file)


def hard_link(file: Path) -> None:
    outside = file.parents[1] / "outside.yaml"
    outside.write_text("new: 1\n")
    file.unlink()
    os.link(outside, file)


def made_without_a_name(file: Path) -> None:
    file.unlink()
    try:
        descriptor = os.open(file.parent, os.O_TMPFILE | os.O_WRONLY, 0o644)
    except OSError:
        pytest.skip("this file system has no O_TMPFILE")
    os.write(descriptor, b"new: 1\n")
    link = ctypes.CDLL(None, use_errno=True).linkat
    assert link(-100, f"/proc/self/fd/{descriptor}".encode(), -100, os.fsencode(file), 0x400) == 0
    os.close(descriptor)


def replaced_by_a_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("b.yaml")


@pytest.mark.parametrize(
    "save",
    [write_in_place, rename_over, vim, emacs, code, from_outside, hard_link, made_without_a_name, replaced_by_a_link],
)
async def test_one_save_is_told_by_its_path(conf: Path, save: Callable[[Path], None]) -> None:
    file = conf / "a.yaml"
    async with watched(conf) as watcher:
        save(file)
        news = await watcher.until(file)
        assert {path for changed in news for path in changed.paths} == {str(file)}
        assert not any(changed.rescan for changed in news)
        # The file holds what was saved when the last news comes: nothing is told once more afterwards.
        (conf / "b.yaml").write_text("last: 1\n")
        assert (await watcher.until(conf / "b.yaml"))[-1].paths >= {str(conf / "b.yaml")}


@pytest.mark.parametrize("go", [Path.unlink, lambda file: file.rename(file.parents[1] / "out")])
async def test_a_file_that_goes_is_told(conf: Path, go: Callable[[Path], object]) -> None:
    async with watched(conf) as watcher:
        go(conf / "a.yaml")
        assert (await watcher.next()).paths == {str(conf / "a.yaml")}


async def test_what_follows_a_file_that_is_moved_out_is_not_held_back(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # watchdog's observers wait for the other end of the move: here they would for ever.
    monkeypatch.setattr(InotifyMoveEventGrouper, "delay", 10 * PATIENCE)
    async with watched(conf) as watcher:
        (conf / "a.yaml").rename(tmp_path / "out.yaml")
        (conf / "b.yaml").write_text("new: 1\n")
        assert (await watcher.next()).paths == {str(conf / "a.yaml"), str(conf / "b.yaml")}


async def test_both_ends_of_a_move(conf: Path) -> None:
    async with watched(conf) as watcher:
        (conf / "a.yaml").rename(conf / "sub/d.yaml")
        assert (await watcher.next()).paths == {str(conf / "a.yaml"), str(conf / "sub/d.yaml")}


async def test_a_write_in_progress_is_no_save(conf: Path) -> None:
    async with watched(conf) as watcher:
        with (conf / "a.yaml").open("w") as half, (conf / "new.yaml").open("w") as fresh:
            for text in (half, fresh):
                text.write("half: ")
                text.flush()
                os.fchmod(text.fileno(), 0o600)
            (conf / "b.yaml").write_text("new: 1\n")
            assert (await watcher.next()).paths == {str(conf / "b.yaml")}
        news = [await watcher.next()]
        while not {str(conf / "a.yaml"), str(conf / "new.yaml")} <= frozenset().union(*(n.paths for n in news)):
            news.append(await watcher.next())


async def test_a_changed_permission_is_told(conf: Path) -> None:
    async with watched(conf) as watcher:
        (conf / "a.yaml").chmod(0o600)
        assert (await watcher.next()).paths == {str(conf / "a.yaml")}


async def test_other_files_and_hidden_folders_are_no_news(conf: Path, tmp_path: Path) -> None:
    (conf / ".git").mkdir()
    async with watched(conf) as watcher:
        (conf / "README.md").write_text("x")
        (conf / ".git/a.yaml").write_text("x")
        (conf / "a.yaml~").write_text("x")
        (conf / "empty").mkdir()
        (tmp_path / "beside.yaml").write_text("x")
        (conf / "b.yaml").write_text("new: 1\n")
        changed = await watcher.next()
        assert (changed.paths, changed.rescan) == ({str(conf / "b.yaml")}, False)


async def test_the_files_of_a_secret(conf: Path) -> None:
    folder = conf / "secrets/default/web"
    folder.mkdir(parents=True)
    async with watched(conf) as watcher:
        (folder / "tls.key").write_text("x")
        assert (await watcher.next()).paths == {str(folder / "tls.key")}


# Folders


async def test_new_folders_with_files_already_in_them(conf: Path) -> None:
    async with watched(conf) as watcher:
        for name in "klmnop":
            (conf / name / "deep/er").mkdir(parents=True)
            (conf / name / "deep/er/x.yaml").write_text("new: 1\n")
            assert (await watcher.until(conf / name / "deep/er/x.yaml"))[-1]
        # Whatever was told by a rescan, the folders are watched by now.
        while (conf / "k/deep/er/x.yaml").read_text() != "newer: 1\n":
            (conf / "k/deep/er/x.yaml").write_text("newer: 1\n")
        assert await watcher.until(conf / "k/deep/er/x.yaml")


async def test_a_folder_that_is_moved_in_replaced_and_moved_out(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/c.yaml").write_text("new: 1\n")
    async with watched(conf) as watcher:
        (conf / "sub").rename(tmp_path / "old")
        assert (await watcher.next()).rescan
        (tmp_path / "new").rename(conf / "sub")
        assert (await watcher.next()).rescan
        (conf / "sub/c.yaml").write_text("newer: 1\n")
        assert (await watcher.next()).paths == {str(conf / "sub/c.yaml")}
        (tmp_path / "old/c.yaml").write_text("no news\n")
        (conf / "sub").rename(conf / "renamed")
        assert (await watcher.next()).rescan
        (conf / "renamed/c.yaml").write_text("newest: 1\n")
        assert (await watcher.next()).paths == {str(conf / "renamed/c.yaml")}


async def test_a_folder_that_becomes_readable(plain_user: Path) -> None:
    folder = plain_user / "sub"
    folder.mkdir(mode=0)
    async with watched(plain_user) as watcher:
        assert watcher.first.problems == ()
        folder.chmod(0o700)
        assert (await watcher.next()).rescan
        (folder / "a.yaml").write_text("new: 1\n")
        assert (await watcher.next()).paths == {str(folder / "a.yaml")}


async def test_a_folder_that_is_removed_names_its_files(conf: Path) -> None:
    async with watched(conf) as watcher:
        shutil.rmtree(conf / "sub")
        assert (await watcher.until(conf / "sub/c.yaml"))[-1].paths == {str(conf / "sub/c.yaml")}
        (conf / "sub").mkdir()
        (conf / "sub/c.yaml").write_text("back: 1\n")
        assert await watcher.until(conf / "sub/c.yaml")


async def test_a_root_that_is_removed_and_made_again(conf: Path) -> None:
    here = os.open(conf, os.O_RDONLY)  # someone's shell is in it: the kernel does not tell the folder itself
    try:
        async with watched(conf) as watcher:
            shutil.rmtree(conf)
            news = await watcher.next()
            while not news.rescan:
                news = await watcher.next()
            os.mkdir(conf)
            assert (await watcher.next()).rescan
            (conf / "a.yaml").write_text("back: 1\n")
            assert (await watcher.next()).paths == {str(conf / "a.yaml")}
    finally:
        os.close(here)


async def test_a_root_whose_folders_above_come_later_or_are_exchanged(tmp_path: Path) -> None:
    root = tmp_path / "x/y/conf"
    async with watched(root) as watcher:
        root.mkdir(parents=True)
        (root / "a.yaml").write_text("new: 1\n")
        await watcher.until(root / "a.yaml")
        shutil.copytree(tmp_path / "x", tmp_path / "next")
        (tmp_path / "x").rename(tmp_path / "old")
        (tmp_path / "next").rename(tmp_path / "x")
        while not (await watcher.next()).rescan:
            pass
        (root / "a.yaml").write_text("newer: 1\n")
        await watcher.until(root / "a.yaml")


async def test_a_root_that_is_a_file(conf: Path) -> None:
    async with watched(conf / "a.yaml") as watcher:
        (conf / "b.yaml").write_text("no news\n")
        rename_over(conf / "a.yaml")
        changed = await watcher.next()
        assert (changed.paths, changed.rescan) == ({str(conf / "a.yaml")}, False)


# Links


async def test_a_root_that_is_a_link_which_is_swapped(tmp_path: Path) -> None:
    for release in ("5", "6"):
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "a.yaml").write_text(f"v: {release}\n")
    root = tmp_path / "current"
    root.symlink_to("releases/5")
    async with watched(root) as watcher:
        (tmp_path / "next").symlink_to("releases/6")
        (tmp_path / "next").rename(root)
        assert (await watcher.next()).rescan
        assert read_tree([str(root)]).files[f"{root}/a.yaml"].text == "v: 6\n"
        (tmp_path / "releases/5/a.yaml").write_text("no news\n")
        (tmp_path / "releases/6/a.yaml").write_text("v: 7\n")
        assert (await watcher.next()).paths == {f"{root}/a.yaml"}


async def test_the_swap_of_a_kubernetes_volume(tmp_path: Path) -> None:
    def publish(number: int) -> None:
        fresh = tmp_path / f"..2024_{number}"
        fresh.mkdir()
        (fresh / "app.yaml").write_text(f"v: {number}\n")
        (tmp_path / "..data_tmp").symlink_to(fresh.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    publish(1)
    (tmp_path / "app.yaml").symlink_to("..data/app.yaml")
    async with watched(tmp_path) as watcher:
        for number in (2, 3):
            publish(number)
            shutil.rmtree(tmp_path / f"..2024_{number - 1}")
            while (
                read_tree([str(tmp_path)]).files[f"{tmp_path}/app.yaml"].text != f"v: {number}\n"
                or not (await watcher.next()).rescan
            ):
                pass


async def test_a_linked_file_is_told_by_its_visible_name(tmp_path: Path) -> None:
    store = tmp_path / "conf/.store"
    store.mkdir(parents=True)
    (store / "a.txt").write_text("old: 1\n")
    (tmp_path / "conf/a.yaml").symlink_to(".store/a.txt")
    async with watched(tmp_path / "conf") as watcher:
        for save in (write_in_place, rename_over):
            save(store / "a.txt")
            assert (await watcher.next()).paths == {str(tmp_path / "conf/a.yaml")}


async def test_a_link_out_of_the_dir_is_watched_where_it_is_followed(conf: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (conf / "linked").symlink_to(outside)
    async with watched(conf, follow_outside=True) as watcher:
        (outside / "x.yaml").write_text("new: 1\n")
        assert (await watcher.next()).paths == {str(conf / "linked/x.yaml")}


async def test_a_link_to_a_folder_comes_and_goes(conf: Path) -> None:
    (conf / ".store").mkdir()
    (conf / ".store/x.yaml").write_text("old: 1\n")
    async with watched(conf) as watcher:
        (conf / "live").symlink_to(".store")
        assert (await watcher.next()).rescan
        (conf / ".store/x.yaml").write_text("new: 1\n")
        assert (await watcher.next()).paths == {str(conf / "live/x.yaml")}
        (conf / "live").unlink()
        assert (await watcher.next()).rescan


# Bursts, losses, limits


async def test_a_burst_is_one_piece_of_news(conf: Path) -> None:
    files = {conf / f"{number}.yaml" for number in range(60)}
    news = watch([str(conf)], quiet=0.5, longest=PATIENCE)
    async with aclosing(news):
        assert (await anext(news)).rescan
        for file in files:
            file.write_text("new: 1\n")
        assert (await asyncio.wait_for(anext(news), PATIENCE)).paths == {str(file) for file in files}


async def test_a_storm_starves_nobody(conf: Path) -> None:
    news = watch([str(conf)], quiet=1000.0, longest=0.05)
    async with aclosing(news):
        # It is never quiet here; the bound brings the news all the same.
        assert (await asyncio.wait_for(anext(news), PATIENCE)).rescan
        (conf / "a.yaml").write_text("new: 1\n")
        assert (await asyncio.wait_for(anext(news), PATIENCE)).paths == {str(conf / "a.yaml")}


async def test_what_happens_while_news_is_dealt_with_is_in_the_next(conf: Path) -> None:
    async with watched(conf) as watcher:
        (conf / "a.yaml").write_text("new: 1\n")
        await watcher.next()
        (conf / "b.yaml").write_text("new: 1\n")
        (conf / "sub/c.yaml").write_text("new: 1\n")
        seen: set[str] = set()
        while seen != {str(conf / "b.yaml"), str(conf / "sub/c.yaml")}:
            seen |= (await watcher.next()).paths


async def test_an_overflow_asks_for_a_rescan_and_the_watch_goes_on(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = int(await asyncio.to_thread(Path("/proc/sys/fs/inotify/max_queued_events").read_text))
    if limit > 100_000:
        pytest.skip("the queue is too long to fill")
    go_on, held = threading.Event(), threading.Event()
    handle = InotifyWatch.handle_event

    def slow(self: InotifyWatch, event: InotifyEvent) -> None:
        if not held.is_set() and event.name == b"a.yaml":
            held.set()
            go_on.wait(PATIENCE)
        handle(self, event)

    monkeypatch.setattr(InotifyWatch, "handle_event", slow)
    async with watched(conf) as watcher:
        (conf / "a.yaml").write_text("new: 1\n")
        assert await asyncio.to_thread(held.wait, PATIENCE)
        for number in range(limit // 2 + 2):  # created, deleted: never the same event twice
            os.mkdir(conf / f"x{number}")
            os.rmdir(conf / f"x{number}")
        (conf / "lost.yaml").write_text("lost: 1\n")
        go_on.set()
        while not (await watcher.next()).rescan:
            pass
        (conf / "b.yaml").write_text("new: 1\n")
        await watcher.until(conf / "b.yaml")


async def test_the_watch_limit_falls_back_to_polling_and_says_so(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = InotifyWatch.add_callback

    def limited(self: InotifyWatch, path: bytes, *rest: object) -> object:
        if path.endswith(b"/sub"):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return add(self, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(InotifyWatch, "add_callback", limited)
    monkeypatch.setattr(watching_module, "POLL_SECONDS", 0.02)
    async with watched(conf) as watcher:
        assert [problem.code for problem in watcher.first.problems] == ["LEG0011"]
        assert "max_user_watches" in watcher.first.problems[0].hint
        await save_until_told(conf / "sub/c.yaml", watcher)
        rename_over(conf / "a.yaml")
        await watcher.until(conf / "a.yaml")


async def test_no_inotify_at_all_falls_back_to_polling(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(watching_module, "InotifyWatch", refused)
    monkeypatch.setattr(watching_module, "POLL_SECONDS", 0.02)
    async with watched(conf) as watcher:
        rename_over(conf / "a.yaml")
        changed = await watcher.next()
        assert changed.paths == {str(conf / "a.yaml")}
        assert [problem.code for problem in changed.problems] == ["LEG0011"]


async def test_an_error_in_the_thread_falls_back_to_polling(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = InotifyWatch.handle_event

    def broken(self: InotifyWatch, event: InotifyEvent) -> None:
        if event.name == b"a.yaml":
            raise RuntimeError("broken")
        handle(self, event)

    monkeypatch.setattr(InotifyWatch, "handle_event", broken)
    monkeypatch.setattr(watching_module, "POLL_SECONDS", 0.02)
    async with watched(conf) as watcher:
        rename_over(conf / "a.yaml")
        changed = await watcher.next()
        assert changed.rescan
        assert "broken" in changed.problems[0].message
        await save_until_told(conf / "b.yaml", watcher)


@pytest.mark.parametrize("save", [write_in_place, rename_over, Path.unlink, lambda file: file.chmod(0o600)])
async def test_polling_on_request(conf: Path, save: Callable[[Path], object]) -> None:
    async with watched(conf, poll=0.02) as watcher:
        save(conf / "a.yaml")
        changed = await watcher.next()
        assert (changed.paths, changed.rescan, changed.problems) == ({str(conf / "a.yaml")}, False, ())


async def test_polling_sees_roots_come_and_go_and_links_swapped(tmp_path: Path) -> None:
    for release in ("5", "6"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "a.yaml").write_text("same: 1\n")
    root = tmp_path / "current"
    async with watched(root, poll=0.02) as watcher:
        root.symlink_to("5")
        assert (await watcher.next()).rescan
        (tmp_path / "next").symlink_to("6")
        (tmp_path / "next").rename(root)
        assert (await watcher.next()).rescan
        root.unlink()
        assert (await watcher.next()).rescan


async def test_the_observer_of_other_platforms(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(roots: list[str], tell: polling.Tell, *, follow_outside: bool) -> Observed:
        return Observed(roots, tell, follow_outside=follow_outside)

    monkeypatch.setattr(watching_module, "InotifyWatch", other)
    async with watched(conf) as watcher:
        (conf / "sub/c.yaml").write_text("new: 1\n")
        (conf / "README.md").write_text("no news")
        assert (await watcher.until(conf / "sub/c.yaml"))[-1].paths == {str(conf / "sub/c.yaml")}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("9 1 0:1 / {root} rw - nfs4 server:/x rw", "nfs4"),
        ("9 1 0:1 / {root}/sub rw master:1 - fuse.sshfs host: rw", "fuse.sshfs"),
        ("9 1 0:1 / {root}x rw - nfs server:/x rw", None),
        ("9 1 0:1 / /wholly\\040else rw - nfs server:/x rw", None),
    ],
)
def test_file_systems_that_do_not_tell(line: str, kind: str | None) -> None:
    mounts = ["1 0 8:1 / / rw - ext4 /dev/sda rw", line.format(root="/srv/conf")]
    assert watching_module.remote("/srv/conf", mounts) == kind


# The end


async def test_cancellation_leaves_no_thread_and_no_descriptor(conf: Path) -> None:
    def inotifies() -> int:
        count = 0
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                count += os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:inotify"
            except OSError:
                continue
        return count

    before = inotifies()
    for _ in range(20):
        ready = asyncio.Event()

        async def consume(ready: asyncio.Event = ready) -> None:
            async with aclosing(watch([str(conf)])) as news:
                async for _ in news:
                    ready.set()

        task = asyncio.create_task(consume())
        await asyncio.wait_for(ready.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("legation")]
    assert inotifies() == before


async def test_standard_input_alone_is_never_news() -> None:
    async with aclosing(watch(["-"])) as news:
        assert (await anext(news)).rescan
        later = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0)
        assert not later.done()
        later.cancel()
        with pytest.raises(asyncio.CancelledError):
            await later


# All of it together


def disturb(chance: random.Random, root: Path, outside: Path) -> None:
    """One thing that people, editors and tools do to a tree."""
    folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    folder = chance.choice(folders)
    files = [path for path in root.rglob("*.yaml") if path.is_file() or path.is_symlink()]
    file = chance.choice(files) if files and chance.random() < 0.7 else folder / f"{chance.choice('abcdef')}.yaml"
    other = chance.choice(folders) / f"{chance.choice('abcdef')}.yaml"
    name = f"{chance.choice(['', '.', '..'])}{chance.choice('xyz')}"
    act = chance.randrange(12)
    if act <= 2:
        write_in_place(file, f"new: {chance.random()}\n")
    elif act == 3:
        rename_over(file)
    elif act == 4:
        file.rename(other)
    elif act == 5:
        file.unlink()
    elif act == 6:
        (folder / name / "deep").mkdir(parents=True)
        (folder / name / "deep/a.yaml").write_text(f"new: {chance.random()}\n")
    elif act == 7 and folder != root:
        shutil.rmtree(folder)
    elif act == 8 and folder != root:
        folder.rename(chance.choice(folders) / name)
    elif act == 9 and folder != root:
        folder.rename(outside / str(chance.random()))
    elif act == 10:
        other.with_name("link.yaml").symlink_to(os.path.relpath(file, other.parent))
    elif act == 11:
        fresh = root / f".link{chance.random()}"
        fresh.symlink_to(os.path.relpath(folder, root))
        fresh.rename(root / f"{chance.choice(['', '..'])}live{chance.choice('12')}")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("poll", [None, 0.01])
async def test_all_news_together_is_the_tree(tmp_path: Path, seed: int, poll: float | None) -> None:
    root, outside = tmp_path / "conf", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    chance = random.Random(seed)

    over = threading.Event()

    def disturb_all() -> None:
        for _ in range(300):
            try:
                disturb(chance, root, outside)
            except OSError:
                continue  # it cannot be done to this tree
        over.set()
        write_in_place(root / "over.yaml")

    last = root / "last.yaml"
    async with watched(root, poll=poll) as watcher:
        known = {path: raw.text for path, raw in read_tree([str(root)]).files.items()}
        disturbing = asyncio.create_task(asyncio.to_thread(disturb_all))
        while str(last) not in known:
            changed = await watcher.next()
            read = read_tree([str(root)]) if changed.rescan else read_files([str(root)], changed.paths)
            if changed.rescan:
                known.clear()
            for path in changed.paths:
                known.pop(path, None)
            known |= {path: raw.text for path, raw in read.files.items()}
            if over.is_set() and not last.exists():
                write_in_place(last)
        await disturbing
        assert known == {path: raw.text for path, raw in read_tree([str(root)]).files.items()}
