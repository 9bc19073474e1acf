"""Programs of these tests, each in a process of its own on a host of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: The tests' folders that the programs import from.
sys.path[:0] = [str(HERE), str(HERE / "fakehost")]


def custom_module() -> Path:
    """The folder that a user names by --custom_module_dirs, of the package that is tested."""
    import opswap.adapters.trtllm as package

    return Path(package.__file__).parent / "custom_module" / "opswap_trtllm"


def run(host: Path, program: str, *words: str, env: dict[str, str] | None = None) -> tuple[dict[str, Any], str]:
    """What the program printed behind FOUND, and its error output."""
    paths = [str(host), str(HERE / "fakehost"), os.environ.get("PYTHONPATH", ""), *(env or {}).get("MORE", "").split()]
    known = {name: value for name, value in os.environ.items() if not name.startswith(("OPSWAP_TRTLLM", "TLLM"))}
    variables = {
        **known,
        "OPSWAP_RUNTIME_DIR": str(host),
        **(env or {}),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    command = [sys.executable, str(HERE / program), *words]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600, check=False)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("FOUND ")]
    assert ran.returncode == 0 and lines, ran.stdout + ran.stderr
    return json.loads(lines[-1].removeprefix("FOUND ")), ran.stderr
