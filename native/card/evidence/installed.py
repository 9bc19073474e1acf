"""The library of this installation, and what it says of its kernels and of their evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .abi import Library
from .refusal import Refused


def library_at(path: Path | None) -> tuple[Library, Path]:
    """The library of a path, else that of the package that this module is a part of."""
    place = (path or Path(__file__).resolve().parents[1] / "libopswap.so").resolve()
    try:
        return Library(place), place
    except (OSError, AttributeError) as error:
        remedy = "install the wheel again, or give the path of a libopswap.so with --library"
        raise Refused("OPSWAP_E_NATIVE", f"{place} cannot be used as opswap's library: {error}", remedy) from None


def sm90_of(library: Library, op: str) -> dict[str, Any] | None:
    return next((impl for impl in library.why(op)["impls"] if impl["name"] == "sm90"), None)


def kernel_ops(library: Library) -> list[str]:
    return [op for op in library.ops if sm90_of(library, op) is not None]
