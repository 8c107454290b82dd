"""A mesh for every test, in both variants of xDS."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from legation.bootstrap import Variant

from . import mesh as meshes


@pytest.fixture(params=list(Variant), ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    return Variant(request.param)


@pytest.fixture
async def mesh(variant: Variant) -> AsyncIterator[meshes.Mesh]:
    async with meshes.mesh(variant) as made:
        yield made


@pytest.fixture
async def single() -> AsyncIterator[meshes.Mesh]:
    """For what does not depend on the variant."""
    async with meshes.mesh() as made:
        yield made
