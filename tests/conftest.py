"""What all tests share: this folder is importable (`import simulate`), and golden files can be rewritten."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the outputs of the golden cases")
