"""The sources that a room's CUDA kernels are compiled from, as one digest that comments and layout do not change."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from .spec import Op

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
_COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*")', re.DOTALL)
FOLDERS = ("kernels", "native/core", "native/include")


def stripped(source: str) -> str:
    """Without comments; runs of white space are one."""
    return " ".join(_COMMENT_OR_STRING.sub(lambda m: m[1] or " ", source).split())


def _find(root: Path, near: Path, name: str) -> Path | None:
    places = [near.parent / name, *(root / folder / name for folder in FOLDERS)]
    return next((p.resolve() for p in places if p.is_file()), None)


def closure(root: Path, *starts: Path) -> list[Path]:
    """The files and every file of the checkout that they include, however far."""
    seen: list[Path] = []
    waiting = [start.resolve() for start in starts]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.append(path)
        names = _INCLUDE.findall(path.read_text())
        waiting += [found for name in names if (found := _find(root, path, name)) is not None]
    return sorted(seen)


def kernel_digest(root: Path, op: Op) -> str:
    """sha256 over the op's declaration, its instances and the closure of its CUDA files."""
    digest = hashlib.sha256(f"{op.hash}\0{json.dumps(op.data['instances'])}".encode())
    for path in closure(root.resolve(), *op.kernel_files):
        name = path.relative_to(root.resolve())
        digest.update(f"\0{name}\0{stripped(path.read_text())}".encode())
    return digest.hexdigest()
