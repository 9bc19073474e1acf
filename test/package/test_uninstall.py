"""Uninstalling a wheel that was used leaves nothing but what docs/install.md names: the cache and the state folder."""

from __future__ import annotations

import re
from pathlib import Path

from package.conftest import PYTHONS, Install
from package.installed import ROOT, Installed, uv, wheel_for

USE = """
import numpy as np, opswap
opswap.call("silu", np.zeros((1, 8), np.float32), np.ones((1, 8), np.float32))
"""


def named_folders(home: Path) -> list[Path]:
    """The folders that the page names under "What stays", where home and session's folder are those of the test."""
    section = (ROOT / "docs/install.md").read_text().split("## What stays", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"`(~|\$XDG_RUNTIME_DIR)/([^`]+)`", section)
    return [(home if start == "~" else session(home)) / rest for start, rest in named]


def session(home: Path) -> Path:
    return home / "session"


def use(installed: Installed) -> None:
    """An op, the doctor, and a sidecar that writes into the state folder and ends with its input."""
    session(installed.home).mkdir(mode=0o700)
    installed.says(USE)
    installed.doctor()
    command = [installed.python, "-m", "opswap.ipc.sidecar", "--name", "used", "--until-eof"]
    done = installed.run(*command, XDG_RUNTIME_DIR=str(session(installed.home)))
    assert done.returncode == 0, done.stderr


def test_nothing_is_left_but_what_the_page_names(install: Install, packages: Path) -> None:
    tag = list(PYTHONS)[-1]
    installed = install(tag, "numpy", "pyzmq", "msgpack", wheel=False)
    before = installed.files()
    uv("pip", "install", "--quiet", "--python", installed.python, wheel_for(packages, tag))
    assert len(installed.files() - before) > 50
    use(installed)
    uv("pip", "uninstall", "--quiet", "--python", installed.python, "opswap")
    assert not installed.package.exists()
    folders = named_folders(installed.home)
    assert len(folders) == 4
    left = {Path(name) for name in installed.files() - before}
    assert left, "the sidecar has a state folder"
    assert {file for file in left if not any(folder in file.parents for folder in folders)} == set()
