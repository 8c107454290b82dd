"""What all tests share: this folder is importable (`import simulate`), golden files can be rewritten, and Envoys can be
containers.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the outputs of the golden cases")
    parser.addoption(
        "--long", action="store_true", help="in full number what is otherwise done a few times (endurance)"
    )
    parser.addoption(
        "--envoy",
        choices=("local", "docker"),
        default="local",
        help="whose Envoy the end-to-end tests start: the one that is installed here, or the official image's",
    )
