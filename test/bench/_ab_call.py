"""The row of `ab` on what a call costs when no experiment touches its op, over an earlier build's call."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from _ab_base import ROOT

#: Calls that a run times at once: short, so that some rounds of a run are undisturbed, and a pair sees one machine.
CALLS = 20_000


def _program(checkout: Path, folder: Path, name: str) -> Path:
    """The same source against this checkout's header and library."""
    native, program = checkout / "build/native", folder / name
    link = [f"-L{native}", "-lopswap", f"-Wl,-rpath,{native}"]
    source = ["-O2", "-std=c++20", f"-I{checkout / 'native/include'}", str(ROOT / "test/bench/_abi.cpp")]
    subprocess.run(["g++", *source, "-o", str(program), *link], check=True)
    return program


def _ns(program: Path) -> float:
    return float(json.loads(subprocess.check_output([str(program), str(CALLS)]))["quickest_ns"])


def _pair(programs: list[Path], is_swapped: bool) -> tuple[float, float]:
    """Ours and theirs, in an order that changes from pair to pair."""
    if is_swapped:
        theirs = _ns(programs[1])
        return _ns(programs[0]), theirs
    return _ns(programs[0]), _ns(programs[1])


def _bounds(ordered: list[float]) -> list[float]:
    """What the median lies between at 95%, whatever the distribution: ranks of a sign test."""
    off = 0.98 * math.sqrt(len(ordered))
    middle = (len(ordered) - 1) / 2
    low, high = max(0, math.floor(middle - off)), min(len(ordered) - 1, math.ceil(middle + off))
    return [round(ordered[low], 2), round(ordered[high], 2)]


def call_cost(base: Path, pairs: int) -> dict[str, Any]:
    """Both libraries in turn: the median of the differences of pairs, and what it lies between."""
    with tempfile.TemporaryDirectory() as folder:
        programs = [_program(ROOT, Path(folder), "ours"), _program(base, Path(folder), "base")]
        runs = [_pair(programs, number % 2 == 1) for number in range(pairs)]
    added = sorted(ours - theirs for ours, theirs in runs)
    ours, theirs = (statistics.median(side) for side in zip(*runs, strict=True))
    told = {"added_ns": round(statistics.median(added), 2), "between": _bounds(added), "pairs": pairs}
    return {**told, "reach": 5, "goal": 2, "ours_ns": ours, "base_ns": theirs}
