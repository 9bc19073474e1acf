"""The row of `ab` on what a call costs when no experiment touches its op, over an earlier build's call."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from _ab_base import ROOT

ROUNDS = 9


def _program(checkout: Path, folder: Path, name: str) -> Path:
    """The same source against this checkout's header and library."""
    native, program = checkout / "build/native", folder / name
    link = [f"-L{native}", "-lopswap", f"-Wl,-rpath,{native}"]
    source = ["-O2", "-std=c++20", f"-I{checkout / 'native/include'}", str(ROOT / "test/bench/_abi.cpp")]
    subprocess.run(["g++", *source, "-o", str(program), *link], check=True)
    return program


def _ns(program: Path) -> float:
    return float(json.loads(subprocess.check_output([str(program)]))["call_ns"])


def call_cost(base: Path) -> dict[str, Any]:
    """Both libraries in turn; of each the quickest run, since other work only ever adds."""
    with tempfile.TemporaryDirectory() as folder:
        programs = [_program(ROOT, Path(folder), "ours"), _program(base, Path(folder), "base")]
        rounds = [[_ns(program) for program in programs] for _ in range(ROUNDS)]
    ours, theirs = ([one[side] for one in rounds] for side in range(2))
    added = [a - b for a, b in rounds]
    told = {"ours_ns": min(ours), "base_ns": min(theirs), "rounds": ROUNDS}
    return {
        "added_ns": round(min(ours) - min(theirs), 2),
        "added_ns_median": statistics.median(added),
        "reach": 5,
        "goal": 2,
        **told,
    }
