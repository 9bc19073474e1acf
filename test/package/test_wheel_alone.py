"""A wheel in an empty environment, for each Python of this machine: an import, a call, the sidecar's packages."""

from __future__ import annotations

import json
import shutil

from package.conftest import Install
from package.installed import COMPILER, Installed

CALL = """
import json, sys
import numpy as np, opswap
x = np.linspace(-4, 4, 64, dtype=np.float32).reshape(4, 16)
out = np.zeros_like(x)
opswap.call("silu", out, x)
print(json.dumps({"error": float(abs(out - x / (1 + np.exp(-x))).max()), "place": opswap.__file__,
                  "version": opswap.version()["pack_version"], "isa": opswap.version()["cpu_isa"]}))
"""


def test_an_op_is_called_from_numpy(install: Install, tag: str) -> None:
    installed = install(tag, "numpy")
    told = json.loads(installed.says(CALL))
    assert told["error"] < 1e-6
    assert told["place"] == str(installed.package / "__init__.py")
    assert told["version"] in next(installed.package.parent.glob("opswap-*.dist-info")).name


def test_no_compiler_is_on_the_path(newest: Installed) -> None:
    for name in ("gcc", "g++", "cc", "c++", "clang", "nvcc", "ld"):
        assert COMPILER.match(name) and shutil.which(name, path=newest.environment()["PATH"]) is None, name
    assert shutil.which("sh", path=newest.environment()["PATH"])


def test_agent_and_sidecar_find_their_packages(newest: Installed) -> None:
    assert newest.says("import opswap.ipc.agent, opswap.ipc.sidecar; print('both')") == "both"


def test_importing_asks_neither_for_the_driver_nor_for_the_converter(newest: Installed) -> None:
    code = "import sys, opswap; print([m for m in ('numpy', 'subprocess', 'opswap.converter') if m in sys.modules])"
    assert newest.says(code) == "[]"
    assert newest.says("import opswap; print(opswap.convert.__module__, opswap.converter.__name__)") == (
        "opswap.converter opswap.converter"
    )
