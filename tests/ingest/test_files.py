"""Reading trees from real files: what is read, what is not, and what is said of it."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path

import pytest
from legation.ingest import files
from legation.ingest.files import RootState, Tree, read_files, read_tree, wanted
from legation.problems import Severity


def names(tree: Tree, root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in tree.files]


def write(path: Path, text: str | bytes = "a: 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def the_problem(tree: Tree, path: Path) -> tuple[Severity, str, str]:
    raw = tree.files[str(path)]
    assert raw.text is None
    assert raw.problem is not None
    assert raw.problem.file == str(path)
    return raw.problem.severity, raw.problem.code, raw.problem.message


def test_every_yaml_and_json_file_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "sub/c.json", "sub/deep/er/d.yaml", "README.md", "e.yaml.bak", "yaml"):
        write(tmp_path / name, name)
    tree = read_tree([str(tmp_path)])
    assert names(tree, tmp_path) == ["a.yml", "b.yaml", "sub/c.json", "sub/deep/er/d.yaml"]
    assert tree.files[f"{tmp_path}/sub/c.json"].text == "sub/c.json"
    assert tree.roots == {str(tmp_path): RootState.FINE}
    assert tree.problems == ()


@pytest.mark.parametrize(
    "name",
    [".a.yaml", "a.yaml~", ".a.yaml.swp", "a.yaml.swp", "4913", ".#a.yaml", "#a.yaml#", ".git/a.yaml", "old~/a.yaml"],
)
def test_backups_swap_files_and_dot_names_are_passed_over(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    tree = read_tree([str(tmp_path)])
    assert not tree.files
    assert tree.roots == {str(tmp_path): RootState.EMPTY}
    assert not read_files([str(tmp_path)], [f"{tmp_path}/{name}"]).files


def test_wanted_is_about_the_name() -> None:
    assert all(map(wanted, ("a.yaml", "a.yml", "a.json", "A.YAML")))
    assert not any(map(wanted, ("a.txt", ".a.yaml", "a.yaml~", "yaml")))


def test_a_path_is_what_the_user_gave_joined_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "conf/sub/a.yaml")
    monkeypatch.chdir(tmp_path)
    assert list(read_tree(["conf"]).files) == ["conf/sub/a.yaml"]
    assert list(read_tree(["conf/"]).files) == ["conf/sub/a.yaml"]
    assert list(read_tree(["./conf"]).files) == ["./conf/sub/a.yaml"]


def test_a_single_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    file = write(tmp_path / ".hidden.txt", "x: 1")
    tree = read_tree([str(file)])
    assert tree.files[str(file)].text == "x: 1"
    assert read_files([str(file)], [str(file)]).files == tree.files


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: 1\n")))
    tree = read_tree(["-"])
    assert tree.files["-"].text == "a: 1\n"


def test_a_root_that_another_covers_is_not_read_twice(tmp_path: Path) -> None:
    write(tmp_path / "sub/a.yaml")
    write(tmp_path / ".drafts/b.yaml")
    roots = [f"{tmp_path}/sub", str(tmp_path), f"{tmp_path}/sub/a.yaml", f"{tmp_path}/", f"{tmp_path}/.drafts"]
    tree = read_tree(roots)
    assert names(tree, tmp_path) == ["sub/a.yaml", ".drafts/b.yaml"]


def test_missing_and_empty_roots_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    roots = [f"{tmp_path}/empty", f"{tmp_path}/missing"]
    tree = read_tree(roots)
    assert tree.roots == {roots[0]: RootState.EMPTY, roots[1]: RootState.MISSING}
    assert [(p.file, p.severity) for p in tree.problems] == [
        (roots[0], Severity.WARNING),
        (roots[1], Severity.ERROR),
    ]
    assert tree.unknown(f"{roots[1]}/a.yaml")
    assert not tree.unknown(f"{roots[0]}/a.yaml")


def test_the_links_of_a_kubernetes_volume(tmp_path: Path) -> None:
    write(tmp_path / "..2024_01/app.yaml", "v: 1")
    (tmp_path / "..data").symlink_to("..2024_01")
    (tmp_path / "app.yaml").symlink_to("..data/app.yaml")
    tree = read_tree([str(tmp_path)])
    assert {path: raw.text for path, raw in tree.files.items()} == {f"{tmp_path}/app.yaml": "v: 1"}
    assert read_files([str(tmp_path)], [f"{tmp_path}/app.yaml"]).files == tree.files


@pytest.mark.parametrize("target", ["file", "folder"])
def test_a_link_out_of_the_dir_is_followed_on_request_only(tmp_path: Path, target: str) -> None:
    outside = write(tmp_path / "outside/a.yaml", "secret-ish")
    root = tmp_path / "conf"
    root.mkdir()
    link = root / ("a.yaml" if target == "file" else "sub")
    link.symlink_to(outside if target == "file" else outside.parent)
    path = link if target == "file" else link / "a.yaml"

    tree = read_tree([str(root)])
    told = [*tree.problems, *(raw.problem for raw in tree.files.values() if raw.problem)]
    assert [(p.code, p.file, p.hint) for p in told if "leads out" in p.message] == [
        ("LEG0003", str(link), "--follow-outside follows it")
    ]
    assert not any(raw.text for raw in tree.files.values())
    assert not any(raw.text for raw in read_files([str(root)], [str(path)]).files.values())

    assert read_tree([str(root)], follow_outside=True).files[str(path)].text == "secret-ish"
    assert read_files([str(root)], [str(path)], follow_outside=True).files[str(path)].text == "secret-ish"


def test_a_linked_folder_inside_is_read_by_its_visible_name(tmp_path: Path) -> None:
    write(tmp_path / ".store/a.yaml")
    (tmp_path / "live").symlink_to(".store")
    assert names(read_tree([str(tmp_path)]), tmp_path) == ["live/a.yaml"]


def test_a_root_that_is_a_link_is_its_own_inside(tmp_path: Path) -> None:
    write(tmp_path / "releases/5/a.yaml")
    (tmp_path / "current").symlink_to("releases/5")
    root = f"{tmp_path}/current"
    assert list(read_tree([root]).files) == [f"{root}/a.yaml"]


def test_loops_end_and_are_told(tmp_path: Path) -> None:
    write(tmp_path / "sub/a.yaml")
    (tmp_path / "sub/up").symlink_to("..")
    (tmp_path / "x.yaml").symlink_to("y.yaml")
    (tmp_path / "y.yaml").symlink_to("x.yaml")
    tree = read_tree([str(tmp_path)])
    assert tree.files[f"{tmp_path}/sub/a.yaml"].text
    assert the_problem(tree, tmp_path / "x.yaml")[:2] == (Severity.ERROR, "LEG0003")
    assert any(p.file == f"{tmp_path}/sub/up" and "leads back" in p.message for p in tree.problems)
    again = f"{tmp_path}/sub/up/sub/a.yaml"
    assert not read_files([str(tmp_path)], [again]).files


def test_a_dangling_link_holds_what_it_may_have_led_to(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    (tmp_path / "sub").symlink_to("nowhere")
    tree = read_tree([str(tmp_path)])
    assert the_problem(tree, tmp_path / "a.yaml")[:2] == (Severity.ERROR, "LEG0003")
    assert tree.unknown(f"{tmp_path}/sub/b.yaml")
    assert tree.roots[str(tmp_path)] is RootState.FINE


@pytest.mark.parametrize(
    ("data", "line", "column", "says"),
    [
        (b"\xff\xfea\x00", 1, 1, "UTF-16"),
        (b"\xfe\xff\x00a", 1, 1, "UTF-16"),
        (b"a: 1\nb: \0", 2, 4, "NUL"),
        ("a: 1\nä: ".encode() + b"\xe4\n", 2, 4, "0xe4"),
        (b"\xef\xbb\xbfa: \xff", 1, 4, "0xff"),
    ],
)
def test_what_is_no_utf8_is_told_with_its_place(tmp_path: Path, data: bytes, line: int, column: int, says: str) -> None:
    file = write(tmp_path / "a.yaml", data)
    tree = read_tree([str(tmp_path)])
    assert says in the_problem(tree, file)[2]
    problem = tree.files[str(file)].problem
    assert problem is not None
    assert (problem.line, problem.column) == (line, column)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", b"\xef\xbb\xbfa: 1\r\n")
    assert read_tree([str(tmp_path)]).files[str(file)].text == "a: 1\r\n"


def test_an_empty_file_is_text(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "")
    assert read_tree([str(tmp_path)]).files[str(file)].text == ""


def test_a_file_that_is_too_large_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(files.MAX_BYTES + 1)
    assert the_problem(read_tree([str(tmp_path)]), file)[1:] == ("LEG0005", "is larger than 64 MiB: not read")


def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")  # opening it would wait for a writer for ever
    (tmp_path / "null.yaml").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.yaml"))
        for tree in (
            read_tree([str(tmp_path)], follow_outside=True),
            read_files(
                [str(tmp_path)], [f"{tmp_path}/{n}.yaml" for n in ("pipe", "null", "socket")], follow_outside=True
            ),
            read_tree([f"{tmp_path}/{n}.yaml" for n in ("pipe", "null", "socket")]),
        ):
            assert {raw.problem and raw.problem.code for raw in tree.files.values()} == {"LEG0004"}
            assert len(tree.files) == 3


def test_a_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml/b.yaml")
    assert names(read_tree([str(tmp_path)]), tmp_path) == ["a.yaml/b.yaml"]
    assert not read_files([str(tmp_path)], [f"{tmp_path}/a.yaml"]).files


def test_a_file_that_vanishes_after_it_was_listed_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.yaml")
    gone = write(tmp_path / "b.yaml")
    real_open = os.open

    def late(path: str, *rest: int) -> int:
        gone.unlink(missing_ok=True)
        return real_open(path, *rest)

    monkeypatch.setattr(files.os, "open", late)
    tree = read_tree([str(tmp_path)])
    assert names(tree, tmp_path) == ["a.yaml"]
    assert tree.problems == ()


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.yaml", "half")
    real_read, reads = os.read, 0

    def slow(descriptor: int, most: int) -> bytes:
        nonlocal reads
        reads += 1
        data = real_read(descriptor, most)
        if reads == 1:
            file.write_text("the whole of it")
        return data

    monkeypatch.setattr(files.os, "read", slow)
    assert read_tree([str(tmp_path)]).files[str(file)].text == "the whole of it"


def test_a_file_that_never_rests_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.yaml", "x")
    real_read = os.read

    def restless(descriptor: int, most: int) -> bytes:
        data = real_read(descriptor, most)
        if not data:  # its end: a little more is written before anyone looks
            with file.open("a") as more:
                more.write("x")
        return data

    monkeypatch.setattr(files.os, "read", restless)
    assert the_problem(read_tree([str(tmp_path)]), file)[1:] == ("LEG0002", "is being written to while it is read")


def test_a_file_without_permission(plain_user: Path) -> None:
    file = write(plain_user / "a.yaml")
    file.chmod(0)
    for tree in (read_tree([str(plain_user)]), read_files([str(plain_user)], [str(file)]), read_tree([str(file)])):
        assert the_problem(tree, file) == (Severity.ERROR, "LEG0002", "cannot be read: Permission denied")


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_without_permission(plain_user: Path, mode: int) -> None:
    write(plain_user / "a.yaml")
    file = write(plain_user / "sub/b.yaml")
    (plain_user / "sub").chmod(mode)
    try:
        tree = read_tree([str(plain_user)])
        few = read_files([str(plain_user)], [str(file)])
        alone = read_tree([str(plain_user / "sub")])
    finally:
        (plain_user / "sub").chmod(0o700)
    raw = tree.files.get(str(file))
    assert tree.unknown(str(file)) or (raw is not None and raw.problem is not None)
    assert tree.files[f"{plain_user}/a.yaml"].text
    # It can be read by name where it can be entered, listed or not.
    assert (few.files[str(file)].text is not None) == (mode == 0o111)
    assert alone.roots == {f"{plain_user}/sub": RootState.FINE if mode == 0o444 else RootState.UNREADABLE}


def test_what_is_below_an_unreadable_folder_is_unknown_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.yaml")
    write(tmp_path / "sub/b.yaml")
    real_scandir = os.scandir

    def denied(path: str) -> object:
        if path.endswith("/sub"):
            raise PermissionError(13, "Permission denied", path)
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    tree = read_tree([str(tmp_path)])
    assert names(tree, tmp_path) == ["a.yaml"]
    assert [(p.file, p.code) for p in tree.problems] == [(f"{tmp_path}/sub", "LEG0002")]
    assert tree.unknown(f"{tmp_path}/sub/b.yaml")
    assert not tree.unknown(f"{tmp_path}/c.yaml")


def test_a_tree_without_end_ends(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(80):
        deep /= "d"
    write(deep / "a.yaml")
    tree = read_tree([str(tmp_path)])
    assert not tree.files
    assert [p.code for p in tree.problems] == ["LEG0005"]
    assert tree.unknown(str(deep / "a.yaml"))


def test_a_name_that_is_no_utf8_can_be_printed(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.yaml", "w") as file:
        file.write("a: 1")
    (path,) = read_tree([str(tmp_path)]).files
    assert path == f"{tmp_path}/\\xff.yaml"


def test_read_files_tells_what_is_gone_by_not_naming_it(tmp_path: Path) -> None:
    kept = write(tmp_path / "kept.yaml", "new: 1")
    tree = read_files([str(tmp_path)], [str(kept), f"{tmp_path}/gone.yaml", f"{tmp_path}/sub/gone.yaml"])
    assert {path: raw.text for path, raw in tree.files.items()} == {str(kept): "new: 1"}
    assert not tree.unknown(f"{tmp_path}/gone.yaml")
    assert tree.roots == {str(tmp_path): RootState.FINE}


def test_read_files_of_a_root_that_vanished_knows_nothing(tmp_path: Path) -> None:
    root = f"{tmp_path}/conf"
    tree = read_files([root], [f"{root}/a.yaml"])
    assert tree.roots == {root: RootState.MISSING}
    assert tree.unknown(f"{root}/a.yaml")


def test_a_folder_of_secrets(tmp_path: Path) -> None:
    for name in ("tls.crt", "tls.key", "other.pem"):
        write(tmp_path / "secrets/default/web" / name, b"\x00not quoted")
    write(tmp_path / "elsewhere/tls.key", "not read")
    folder = f"{tmp_path}/secrets/default/web"
    for tree in (read_tree([str(tmp_path)]), read_files([str(tmp_path)], [f"{folder}/tls.key"])):
        (secret,) = tree.secrets.values()
        assert (secret.path, secret.namespace, secret.name) == (folder, "default", "web")
        assert set(secret.files) == {"tls.crt", "tls.key"}
        assert not tree.files
        assert "not quoted" not in repr(tree)
    (tmp_path / "secrets/default/web/tls.key").unlink()
    (tmp_path / "secrets/default/web/tls.crt").unlink()
    assert not read_files([str(tmp_path)], [f"{folder}/tls.key"]).secrets


def test_the_secrets_folder_itself_as_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "secrets/default/web/tls.crt", "x")
    monkeypatch.chdir(tmp_path / "secrets")
    (secret,) = read_tree(["."]).secrets.values()
    assert (secret.namespace, secret.name) == ("default", "web")


@pytest.mark.parametrize("place", ["Default/web", "default/we b", "default/.web", "a.b/web"])
def test_a_secret_whose_name_is_none_is_left_out(tmp_path: Path, place: str) -> None:
    write(tmp_path / "secrets" / place / "tls.crt", "x")
    tree = read_tree([str(tmp_path)])
    assert not tree.secrets
    assert [p.code for p in tree.problems if p.severity is Severity.ERROR] == ([] if "/." in place else ["LEG0006"])
