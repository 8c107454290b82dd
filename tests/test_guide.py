"""What the guide quotes is in the stories, and the stories and files that it names are there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from legation.cli import main, secure, serve
from legation.ingest.access import policy
from legation.transport.secure import opened

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "guide").glob("*.md"))


def plain(text: str) -> str:
    """Without indents and empty lines."""
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_tells_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    stories = {ROOT / "configs" / name for name in re.findall(r"legation (?:run|serve) configs/([\w-]+)", text)}
    assert stories
    assert all(story.is_dir() for story in stories), stories
    links = [page.parent / target for target in re.findall(r"\]\((?!https?:)([^)#]+)", text)]
    assert all(link.exists() for link in links), links
    written = [plain(link.read_text(encoding="utf-8")) for link in links if link.suffix == ".yaml"]
    for quoted in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert any(plain(quoted) in whole for whole in written), quoted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_are_the_stories_own(page: Path) -> None:
    """A `curl` of a page stands on top of a story too, where a test looks after it."""
    on_top = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "configs").rglob("*.yaml"))
    for command in re.findall(r"^\$ ((?:for|curl) .*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert f"#   {command}" in on_top, command


def test_the_channel_is_secured_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands, in their order, each find what those before them made."""
    monkeypatch.chdir(tmp_path)
    guide = ROOT / "docs" / "guide"
    text = (guide / "policy.yaml").read_text(encoding="utf-8")
    found, problems = policy("policy.yaml", text)
    assert found is not None, problems
    Path("policy.yaml").write_text(text, encoding="utf-8")
    Path("configs").mkdir()
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    Path("keys.json").write_text(json.dumps({"keys": [ECAlgorithm.to_jwk(key, as_dict=True)]}))
    page = (guide / "securing-the-channel.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^\$ legation (.*)$", page, re.MULTILINE)]
    assert len(commands) == 9
    for name, *arguments in commands:
        if name == "serve":
            given = serve.serve.make_context(name, arguments).params
            found_files = secure.chosen(**{option: given[option] for option in secure.NAMES})
            assert opened(found_files, lambda: "cluster.local", print).ports
        else:
            done = CliRunner(catch_exceptions=False).invoke(main, [name, *arguments])
            assert done.exit_code == 0, done.output
