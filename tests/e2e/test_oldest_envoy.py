"""The oldest line of Envoy that envoy/versions.txt names: it takes everything that is rendered, and tells some stories,
in both variants of xDS. `make oldest` fetches it; without it these tests are skipped.
"""

from __future__ import annotations

import re

import pytest
from golden.test_accepted import EVERYTHING
from legation.local import static
from legation.local.envoy import find
from legation.local.verdict import verdict

from .mesh import ROOT
from .test_stories import (  # noqa: F401 (these are collected here once more)
    test_a_header_a_cookie_and_a_query_each_show_the_canary,
    test_blue_and_green_change_places_and_nobody_notices,
    test_bookinfo_shows_jason_another_version_of_the_reviews,
    test_half_of_the_requests_are_aborted,
    test_only_who_shows_a_certificate_comes_in,
    test_what_is_no_http_goes_by_name_and_by_weight,
)

pytestmark = pytest.mark.envoy

(VERSION,) = re.findall(r"^OLDEST_ENVOY=(.+)$", (ROOT / "envoy" / "versions.txt").read_text(), re.MULTILINE)
PROGRAM = ROOT / ".venv" / "oldest-envoy" / VERSION / "envoy" / "_bin" / "envoy"


@pytest.fixture(autouse=True)
def oldest(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--envoy") == "docker":
        pytest.skip("the container is of the newest line")
    if not PROGRAM.exists():
        pytest.skip(f"Envoy {VERSION} is not there; `make oldest` fetches it")
    monkeypatch.setenv("LEGATION_ENVOY", str(PROGRAM))


def test_it_takes_everything_that_is_rendered() -> None:
    assert find() == PROGRAM
    assert verdict(static.together(static.bootstrap(snapshot) for snapshot in EVERYTHING.values())) == ""
