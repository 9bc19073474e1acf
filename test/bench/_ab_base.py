"""A built checkout of the commit that rows of `ab` compare with: given, or made and taken away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMIT = "d125e24"
ROOT = Path(__file__).parents[2]


def _run(*command: str, cwd: Path) -> None:
    # CUDA kernels have no part in these rows, and are most of a build.
    subprocess.run(command, cwd=cwd, check=True, stdout=sys.stderr, env={**os.environ, "OPSWAP_CUDA": "off"})


@contextmanager
def base_checkout(given: Path | None) -> Iterator[Path]:
    """`given`, or a worktree of COMMIT in a temporary folder, built."""
    if given is not None:
        yield given.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="opswap-base-", dir="/tmp"))
    try:
        _run("git", "worktree", "add", "--detach", str(folder / "base"), COMMIT, cwd=ROOT)
        _run("npm", "ci", "--prefer-offline", cwd=folder / "base")
        _run("npm", "run", "build", cwd=folder / "base")
        yield folder / "base"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _run("git", "worktree", "prune", cwd=ROOT)
