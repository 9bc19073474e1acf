"""What the workers found, as one table and as evidence files."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    """All that one worker said, and how it ended."""

    op: str
    device: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    cases: list[dict[str, Any]] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)
    ended: str = ""  # why it stopped before its end; empty: it did not
    remark: str = ""  # on its timing

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [row for row in self.cases if not row["passed"] and "skipped" not in row]

    @property
    def passed(self) -> list[dict[str, Any]]:
        return [row for row in self.cases if row.get("passed")]

    @property
    def sound(self) -> bool:
        return not self.ended and not self.failed and bool(self.passed)


def read_outcome(op: str, path: Path, ended: str) -> Outcome:
    out = Outcome(op, ended=ended)
    complete = False
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)
        kind = row.pop("kind")
        if kind == "case":
            out.cases.append({"passed": False, **row})
        elif kind == "timing":
            out.timings.append(row)
        elif kind == "end":
            complete = True
        else:
            setattr(out, kind, row)
    if not complete and not ended:
        out.ended = "ended without a word"
    return out


def largest(outcome: Outcome) -> dict[str, Any] | None:
    return max(outcome.timings, key=lambda row: row["bytes"], default=None)


def _timing_cells(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return ["-"] * 3
    best = min(row["baselines"].items(), key=lambda item: item[1], default=None)
    against = f"{best[1] / row['us']:.2f}x {best[0]}" if best else "-"
    return [f"{row['us']:.1f}", f"{100 * row['share_of_copy']:.0f}%", against]


def table(outcomes: list[Outcome], kind: str) -> str:
    """One row an op; the times are of its largest case."""
    head = ["op", "where", "passed", "failed", "skipped", "worst norm", "us", "of copy", "against", "remark"]
    rows = [head]
    for o in outcomes:
        worst = max((v["relative_norm"] for row in o.passed for v in row["outputs"].values()), default=None)
        skipped = len(o.cases) - len(o.passed) - len(o.failed)
        remark = o.ended or (f"{o.failed[0]['problem']}" if o.failed else o.remark)
        counts = [str(len(o.passed)), str(len(o.failed)), str(skipped)]
        norm = "-" if worst is None else f"{worst:.1e}"
        where = "emulated" if kind == "emulated" else str(o.device.get("model", "?"))
        rows.append([o.op, where, *counts, norm, *_timing_cells(largest(o)), remark])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


RESULT_KEYS = ("case", "types", "passed", "outputs")
TIMING_KEYS = (
    "case",
    "types",
    "us",
    "us_range",
    "clocks_mhz",
    "bytes",
    "share_of_copy",
    "share_of_matrix",
    "baselines",
)


def clocks(outcome: Outcome) -> dict[str, list[float]]:
    """Every clock that was seen, once."""
    rows = [outcome.card["clocks_mhz"]] + [{k: [v] for k, v in t["clocks_mhz"].items()} for t in outcome.timings]
    return {name: sorted({clock for row in rows for clock in row[name]}) for name in ("sm", "memory")}


def evidence(outcome: Outcome, kind: str, commit: str, sources: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "op": outcome.op,
        "implementation": "sm90",
        "backend": kind,
        "device": outcome.device,
        "commit": commit,
        "sources": sources,
        "driver": outcome.card.get("driver", ""),
        "cuda": outcome.card.get("cuda", ""),
        "clocks_mhz": clocks(outcome) if outcome.card else {"sm": [], "memory": []},
        "copy_gbps": outcome.card.get("copy_gbps", 0),
        "matrix_tflops": outcome.card.get("matrix_tflops", {}),
        "correctness": [{k: row[k] for k in RESULT_KEYS} for row in outcome.cases if "skipped" not in row],
        "timing": [{k: row[k] for k in TIMING_KEYS} for row in outcome.timings],
    }


def readable(data: dict[str, Any]) -> str:
    """JSON with a line for each key and each row of a list, so that a diff shows what two runs differ in."""
    parts = []
    for key, value in data.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write_evidence(folder: Path, data: dict[str, Any], text: str | None = None) -> Path:
    """Whole or not at all; `text` where it is written in another form."""
    path = folder / data["device"]["model"] / f"{data['op']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    fresh.write_text(readable(data) if text is None else text)
    fresh.replace(path)
    return path
