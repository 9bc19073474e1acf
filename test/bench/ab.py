"""`npm run bench -- ab`: the figures of experiments in the engine, row by row, as JSON with the machine's load.

`--row NAME` runs one row, and may be given several times; without it those that take seconds run, and the others are
named. `--count N` makes the kills, switches or tokens of a row more or fewer. `--base FOLDER` is a built checkout of
d125e24 for the rows that compare with it; without it they build one in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import _ab_simulated
from _ab_aa import aa
from _ab_base import ROOT, base_checkout
from _ab_call import call_cost

BENCH = Path(__file__).parent
Row = Callable[[argparse.Namespace], Any]
_until_end = ExitStack()


@cache
def _base(given: Path | None) -> Path:
    """One checkout for all rows of this process."""
    return _until_end.enter_context(base_checkout(given))


def _count(asked: argparse.Namespace, usual: int) -> int:
    return usual if asked.count is None else int(asked.count)


def _json_of(*command: object) -> Any:
    """What a script prints last, as JSON."""
    told = subprocess.run([str(part) for part in command], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    whole = told.stdout[told.stdout.rindex("\n{", 0, -1) + 1 :] if "\n{" in told.stdout else told.stdout
    return json.loads(whole)


def _python(script: str, *args: object) -> Any:
    return _json_of(sys.executable, BENCH / script, *args)


def _switch(ranks: int) -> Row:
    def run(asked: argparse.Namespace) -> Any:
        return _python("switch.py", "--base", _base(asked.base), "--tp", ranks, "--switches", _count(asked, 25))

    return run


def _call(asked: argparse.Namespace) -> Any:
    return call_cost(_base(asked.base), _count(asked, 201))


def _quarantine(_: argparse.Namespace) -> Any:
    """A bench of its own, where this checkout has it."""
    if not (BENCH / "quarantine.py").exists():
        return {"not_run": "this checkout has no test/bench/quarantine.py"}
    return _python("quarantine.py")


def _bisect(_: argparse.Namespace) -> Any:
    """The planner's tests, which count its replays against log2 n + 1 and 2 log2 n + 2."""
    found = [file for folder in ("test", "ts-client/src") for file in (ROOT / folder).rglob("planner.test.ts")]
    if not found:
        return {"not_run": "this checkout has no planner.test.ts"}
    told = _json_of("npx", "vitest", "run", "--project", "fast", "--reporter=json", *found)
    return {"passed": told["numPassedTests"], "failed": told["numFailedTests"]}


#: Of each row: whether it runs when none is named, and how.
ROWS: dict[str, tuple[bool, Row]] = {
    "switch": (False, _switch(1)),
    "switch_tp3": (False, _switch(3)),
    "mixed_simulated": (True, lambda asked: _ab_simulated.mixed(_count(asked, 1000))),
    "mixed_vllm": (False, lambda asked: _python("_ab_ranks.py", _count(asked, 1000))),
    "shadow": (False, lambda asked: _python("_ab_engine.py", _count(asked, 400))),
    "call": (False, _call),
    "aa": (True, lambda asked: aa(_count(asked, 10_000))),
    "verdicts": (True, lambda _: _json_of("node", BENCH / "verdicts.mjs")),
    "kill_simulated": (True, lambda asked: _ab_simulated.kills(_count(asked, 1000))),
    "kill_audit": (True, lambda asked: _json_of("node", BENCH / "_ab_audit.mjs", _count(asked, 1000))),
    "kill_vllm": (False, lambda asked: _python("_ab_killed.py", _count(asked, 20))),
    "taken_back": (False, lambda asked: _python("_ab_taken_back.py", _count(asked, 5))),
    "quarantine": (False, _quarantine),
    "bisect": (False, _bisect),
}


def _measured(name: str, asked: argparse.Namespace) -> Any:
    print(f"{name} ...", file=sys.stderr)
    began, before = time.perf_counter(), os.getloadavg()[0]
    told = ROWS[name][1](asked)
    return {**told, "seconds": round(time.perf_counter() - began, 1), "load": [before, os.getloadavg()[0]]}


def _off(rows: dict[str, Any]) -> dict[str, Any]:
    """Experiments that are defined but off: what a call costs more, times calls per step, over the step's time."""
    call, shadow = rows["call"], rows["shadow"]
    share = call["added_ns"] * shadow["calls_per_step"] / (1e6 * shadow["step_ms"])
    return {"share_of_step": share, "reach": 0.002, "goal": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", action="append", choices=sorted(ROWS))
    parser.add_argument("--count", type=int)
    parser.add_argument("--base", type=Path)
    asked = parser.parse_args()
    chosen = asked.row or [name for name, (is_quick, _) in ROWS.items() if is_quick]
    with _until_end:
        rows: dict[str, Any] = {name: _measured(name, asked) for name in chosen}
    if {"call", "shadow"} <= rows.keys():
        rows["off"] = _off(rows)
    for name in () if asked.row else ROWS.keys() - rows.keys():
        rows[name] = {"not_run": f"npm run bench -- ab --row {name}"}
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
