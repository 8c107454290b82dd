"""A mesh for every test, in both variants of xDS."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from legation.bootstrap import Variant

from . import mesh as meshes
from . import namespace


def pytest_configure() -> None:
    if namespace.is_inside():
        namespace.prepare()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is marked `redirected` is run again, inside a namespace of its own."""
    if pyfuncitem.get_closest_marker("redirected") is None or namespace.is_inside():
        return None
    if why := namespace.missing():
        pytest.skip(why)
    namespace.run(pyfuncitem.nodeid)
    return True


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
