"""`show`: every file of the user's folder, and what the library makes of it; nothing is ignored without a word."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .abi import Library
from .folder import files, folder, shown
from .installed import kernel_ops, library_at, sm90_of


def said_of(library: Library, path: Path, ops: list[str]) -> dict[str, Any]:
    """The library's own words on a file: it is counted, or refused with a code."""
    place = shown(Path(path.parent.name, path.name))
    row = {"file": str(path), "op": path.stem, "model": path.parent.name, "counts": False}
    if path.stem not in ops:
        reason = f"OPSWAP_E_EVIDENCE: {place} is refused: this library has no kernels of that name; remove the file"
        return {**row, "reason": reason}
    starts = (f"OPSWAP_E_EVIDENCE: {place} ", f"OPSWAP_E_EVIDENCE: {shown(folder())} ")
    impl = sm90_of(library, path.stem) or {}
    refusals = [part for part in impl.get("local", []) if part.startswith(starts)]
    if refusals:
        return {**row, "reason": refusals[0]}
    return {**row, "counts": True, "timed": path.parent.name in impl["timed_on"], "reason": ""}


def found(library: Library) -> dict[str, Any]:
    place, ops = folder(), kernel_ops(library)
    rows = [said_of(library, path, ops) for path in files(place)]
    proven = {row["op"] for row in rows if row["counts"]}
    return {"folder": str(place), "ops": ops, "files": rows, "without": [op for op in ops if op not in proven]}


def line(row: dict[str, Any]) -> str:
    halves = "correctness and speed" if row.get("timed") else "correctness, no speed"
    return f"  {shown(Path(row['model'], row['op']))}: {'counts, ' + halves if row['counts'] else row['reason']}"


def show(options: argparse.Namespace) -> int:
    data = found(library_at(options.library)[0])
    if options.json:
        print(json.dumps(data))
    else:
        without = f"{len(data['without'])} of {len(data['ops'])} ops with kernels"
        rest = f"  without local evidence: {without}; --json names them"
        print("\n".join([f"folder: {data['folder']}", *map(line, data["files"]), rest]))
    return 0 if all(row["counts"] for row in data["files"]) else 1
