"""A mesh for every test, in both variants of xDS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from legation.bootstrap import Variant

from . import containers, namespace
from . import mesh as meshes


def pytest_configure() -> None:
    if namespace.is_inside():
        namespace.prepare()


@pytest.fixture(scope="session", autouse=True)
def envoys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With `--envoy=docker` every Envoy that a test starts, and every one that a program of ours starts, is a container."""
    if request.config.getoption("--envoy") != "docker":
        yield
        return
    if why := containers.missing():
        pytest.skip(why)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEGATION_ENVOY", str(containers.program(tmp_path_factory.mktemp("docker"))))
        yield
    containers.end()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is marked `redirected` is run again, inside a namespace of its own."""
    if pyfuncitem.get_closest_marker("redirected") is None or namespace.is_inside():
        return None
    if pyfuncitem.config.getoption("--envoy") == "docker":
        pytest.skip("a container has the host's network, not the test's namespace")
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
