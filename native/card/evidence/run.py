"""`run`: checks and times the installed kernels on the card that is there, and keeps what was found."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .abi import Library
from .card import kind_of, refuse_busy_card, unsteady
from .extra import require_extra
from .folder import folder, keep, refuse_unwritable
from .installed import kernel_ops, library_at
from .refusal import Refused

SMALL = 1 << 14  # elements of all tensors of a case


def chosen(library: Library, op: str | None) -> list[str]:
    ops = kernel_ops(library)
    if op is None:
        return ops
    if op not in ops:
        remedy = f"it has them of {', '.join(ops)}" if ops else "use a library that has them"
        raise Refused("OPSWAP_E_NO_OP", f"this library has no CUDA kernels of '{op}'", remedy)
    return [op]


def record(library: Library, outcome: Any, kind: str) -> dict[str, Any]:
    """A file of the repository's evidence/, with what binds it to this installation."""
    from .report import evidence

    data = evidence(outcome, kind, os.environ.get("OPSWAP_COMMIT", "installed"), library.sources(outcome.op))
    if remark := unsteady(data["clocks_mhz"]["sm"]):
        data["timing"], outcome.remark = [], remark
    refused = [
        {"case": row["case"], "types": row["types"], "reason": row["skipped"]}
        for row in outcome.cases
        if "skipped" in row and "untried" not in row
    ]
    made = {"build": library.made["build_digest"], "version": library.made["version"]}
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {**data, **made, "refused": refused, "date": today}


def keep_sound(library: Library, outcomes: list[Any], place: Path) -> list[str]:
    """A line for each op whose cases all ran and passed."""
    lines = []
    for outcome in (o for o in outcomes if o.sound):
        data = record(library, outcome, "cuda")
        if any("untried" in row for row in outcome.cases):
            lines.append(f"  {outcome.op}: not kept, since not every case was run")
        else:
            lines.append(f"  evidence: {keep(place, data)}")
    return lines


def result(outcomes: list[Any], kind: str, kept: list[str]) -> dict[str, Any]:
    rows = [
        {
            "op": o.op,
            "passed": len(o.passed),
            "failed": len(o.failed),
            "timed": len(o.timings),
            "remark": o.ended or o.remark or (o.failed[0]["problem"] if o.failed else ""),
        }
        for o in outcomes
    ]
    return {"backend": kind, "is_evidence": kind == "cuda", "ops": rows, "kept": [line.strip() for line in kept]}


def measure(options: argparse.Namespace, library: Library, path: Path, kind: str) -> tuple[list[Any], list[str]]:
    from .suite import Plan, Suite

    say = (lambda _: None) if options.json else (lambda text: print(text, flush=True))
    with tempfile.TemporaryDirectory(prefix="opswap-evidence-") as work:
        most = SMALL if options.small else None
        plan = Plan(path, kind, Path(work), options.seconds, options.op_seconds, options.seed, most)
        suite = Suite(plan, say)
        say(f"  library: {path}, build {library.made['build_digest'][:12]}\n  inputs from seed {suite.seed}")
        outcomes = suite.check_all(chosen(library, options.op))
        if kind == "emulated":
            return outcomes, ["  emulated, no evidence: nothing is kept"]
        if options.small:
            return outcomes, ["  small cases only: nothing is timed or kept"]
        suite.time_all(outcomes)
        return outcomes, keep_sound(library, outcomes, folder())


def run(options: argparse.Namespace) -> int:
    library, path = library_at(options.library)
    kind = kind_of(library)
    require_extra(kind)
    chosen(library, options.op)
    if kind == "cuda":
        refuse_unwritable(folder())
        refuse_busy_card()
    from .report import table

    outcomes, kept = measure(options, library, path, kind)
    if options.json:
        print(json.dumps(result(outcomes, kind, kept)))
    else:
        print("\n".join([*kept, table(outcomes, kind)]))
    return 0 if outcomes and all(o.sound for o in outcomes) else 1
