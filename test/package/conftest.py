"""What tests of the packages share: the finished wheels, and environments with one, of each Python of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from package.installed import ROOT, Installed, minor_of, path_without_compiler, uv, wheel_for

PYTHONS = {minor_of(python): python for python in os.environ.get("OPSWAP_PYTHONS", "").split(os.pathsep) if python}
Install = Callable[..., Installed]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tag" in metafunc.fixturenames:
        metafunc.parametrize("tag", list(PYTHONS))


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder that `npm run package` made."""
    return Path(os.environ.get("OPSWAP_PACKAGES", ROOT / "build/packages"))


@pytest.fixture(scope="session")
def clean_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return path_without_compiler(tmp_path_factory.mktemp("path") / "bin")


@pytest.fixture(scope="session")
def install(packages: Path, clean_path: str, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Makes an environment of the Python `tag` with its wheel and `more` packages, as env/package.lock has them."""

    def make(tag: str, *more: str, wheel: bool = True) -> Installed:
        place = tmp_path_factory.mktemp(tag)
        made = Installed(place / "env", place / "home", clean_path)
        made.home.mkdir()
        uv("venv", "--quiet", "--python", PYTHONS[tag], made.folder)
        wanted = [str(wheel_for(packages, tag))] * wheel + list(more)
        uv("pip", "install", "--quiet", "--python", made.python, "-c", ROOT / "env/package.lock", *wanted)
        return made

    return make


@pytest.fixture(scope="session")
def newest(install: Install) -> Installed:
    """The wheel alone, on the newest Python; for tests that change nothing in it."""
    return install(list(PYTHONS)[-1])
