"""What the guide quotes is in the stories, and the stories and files that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "guide").glob("*.md"))


def plain(text: str) -> str:
    """Without indents and empty lines."""
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_tells_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    stories = {ROOT / "configs" / name for name in re.findall(r"legation run configs/([\w-]+)", text)}
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
