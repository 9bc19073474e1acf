"""A registered candidate as a file: loaded into the present process from the bytes whose digest was registered.

A row says what is registered: `kind` (build or python), `name`, `path`, `digest` (sha256 of the file, or of the build's
library), and for a Python file also `op` and `function`.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from .candidate_function import checked_function
from .errors import IpcError, code_of
from .plain_file import digest_of, read_plain

PYTHON_BYTES = 1 << 20
BUILD_BYTES = 256 << 20
Row = dict[str, Any]


class Native(Protocol):
    """What the package `opswap` does to register an implementation from outside."""

    def op_spec(self, op: str) -> dict[str, Any]: ...
    def register_impl(self, op: str, name: str, fn: Callable[..., None]) -> None: ...
    def load_build(self, path: str, name: str, build_digest: str) -> None: ...


def load_candidate(opswap: Native, row: Row) -> None:
    """Loads what `row` describes, and registers it with the library of this process. Raises IpcError CANDIDATE where
    the file is another one or cannot be loaded; then nothing is registered."""
    if row["kind"] == "build":
        same(row, digest_of(Path(row["path"]), BUILD_BYTES))
        opswap.load_build(row["path"], row["name"], row["build_digest"])
        return
    function = load_function(opswap.op_spec(row["op"]), row)
    opswap.register_impl(row["op"], row["name"], function)


def load_function(spec: dict[str, Any], row: Row) -> Callable[..., None]:
    """The function of a Python file, with the argument list that the op's `spec` has."""
    path = Path(row["path"])
    source = read_plain(path, PYTHON_BYTES)
    same(row, hashlib.sha256(source).hexdigest())
    return checked_function(_executed(path, source, row["digest"]), spec, row.get("function"), path)


def same(row: Row, digest: str) -> None:
    """Raises IpcError CANDIDATE where a file is not the one that was registered."""
    if digest != row["digest"]:
        found = f"{row['path']}: has sha256 {digest[:16]}, registered was {row['digest'][:16]}"
        raise IpcError("OPSWAP_E_CANDIDATE", f"{found}: the file was changed")


def _executed(path: Path, source: bytes, digest: str) -> ModuleType:
    """The module that these bytes make. Its folder is not put on the path: what the digest does not cover is not taken
    from beside it."""
    module = ModuleType(f"opswap_candidate_{digest[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # compilers of kernels look a function's module up
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        code = code_of(error, "OPSWAP_E_CANDIDATE")
        raise IpcError(code, f"{path}: raised when it was loaded: {type(error).__name__}: {error}") from error
    return module
