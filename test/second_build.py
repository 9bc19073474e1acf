"""A second build of the library for tests: the frame with one room.

`python second_build.py FOLDER OP` builds one whose kernels are right, and slow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence.planted import OP, tree

#: What the second build has in the place of the first one's kernel; it is wrong where epsilon counts.
OURS, THEIRS = "a.weight.as<E>(), a.H, a.epsilon);\n    });", "a.weight.as<E>(), a.H, a.epsilon + 1);\n    });"


def build(folder: Path) -> Path:
    """The library's file."""
    root = tree(folder)
    _edit(root / f"kernels/{OP}/cpu.cpp", lambda text: text.replace(OURS, THEIRS))
    return compiled(root, OP)


def compiled(root: Path, op: str) -> Path:
    """The library of a tree with one room, which is slow: without vectors, and not optimised."""
    # Its kernels for cards are not part of it.
    for file in (root / f"kernels/{op}").glob("*.cu"):
        file.unlink()
    out = root / "out"
    options = ["-DOPSWAP_CUDA=off", "-DOPSWAP_NODE=OFF", "-DOPSWAP_LEVELS=portable", "-DCMAKE_BUILD_TYPE=Debug"]
    _run(
        "cmake",
        "-G",
        "Ninja",
        "-S",
        str(root / "native"),
        "-B",
        str(out),
        *options,
        f"-DOPSWAP_PYTHON={sys.executable}",
    )
    _run("cmake", "--build", str(out), "--parallel", "2", "--target", "opswap")
    return out / "libopswap.so"


def describe(folder: Path, facts: dict[str, Any], digest: str, **changed: Any) -> None:
    """Writes build.json, as `opswap build-key sign` does, without a signature."""
    told = {"schema": 1, "name": "second", "library": "libopswap.so", "sha256": digest}
    (folder / "build.json").write_text(json.dumps({**told, **facts, **changed}))


def _edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    assert change(before) != before, f"{path} has not what the test changes"
    path.write_text(change(before))


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}"


if __name__ == "__main__":
    print(compiled(tree(Path(sys.argv[1]), sys.argv[2]), sys.argv[2]))
