"""Says why the C++ module cannot be loaded, and what to do; imported only when it could not."""

from __future__ import annotations

import re
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from opswap.errors import NotLoadable

THIS_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
LIBRARY = "libopswap.so"
MADE_FOR = re.compile(r"^_opswap\.cpython-(\d)(\d+)-")


def explain(folder: Path, error: ImportError) -> NotLoadable:
    """The refusal for the package in `folder`, whose module gave `error`."""
    modules = sorted(file.name for file in folder.glob("_opswap.*.so"))
    lost = [name for name, there in (("_opswap", bool(modules)), (LIBRARY, (folder / LIBRARY).exists())) if not there]
    if lost:
        return NotLoadable(
            f"the installation in {folder} lacks {' and '.join(lost)}, as after a removal that was cut short; "
            f"delete that folder and install the wheel again"
        )
    if not {f"_opswap{suffix}" for suffix in EXTENSION_SUFFIXES} & set(modules):
        made_for = sorted(f"{m[1]}.{m[2]}" for name in modules if (m := MADE_FOR.match(name))) or modules
        return NotLoadable(
            f"the installation in {folder} is made for Python {', '.join(made_for)}, this is Python {THIS_PYTHON}; "
            f"install the wheel that has cp{THIS_PYTHON.replace('.', '')} in its name"
        )
    return NotLoadable(
        f"the library in {folder} cannot be loaded: {error}; "
        f"it is for Linux with glibc on the processor that the wheel's name ends with: see docs/install.md"
    )
