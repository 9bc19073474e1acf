"""The peers' main loops: which they are, their committed figures, and the same figures made again from the wheels."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sass import nvcc
from sass.compiled import CompiledKernel, read
from sass.machine_code import run
from sass.products import main_loops, together
from sass.wheels import Wheel, checked, headers, library

TABLE = Path(__file__).with_name("peers.json")
_DIGITS = 4  # of the shares, which are exact beyond what anybody compares


class UnknownLoop(ValueError):
    """A committed row whose kernel or loop is not in what was compiled."""


def committed() -> dict[str, Any]:
    return json.loads(TABLE.read_text())


def wheel_of(table: dict[str, Any], name: str) -> Wheel:
    return Wheel(name, **table["wheels"][name])


def _kernel(row: dict[str, Any], kernels: list[CompiledKernel]) -> CompiledKernel:
    named = [k for k in kernels if re.search(row["kernel"], k.name)]
    if len(named) != 1:
        raise UnknownLoop(f"{row['name']}: needs one kernel that matches {row['kernel']}, there are {len(named)}")
    return named[0]


def figures(row: dict[str, Any], kernels: list[CompiledKernel]) -> dict[str, Any]:
    """Of the loops that a row names: a number among the kernel's innermost ones with products, its address, and how
    many warpgroups are in it."""
    kernel = _kernel(row, kernels)
    loops = main_loops(kernel.graph)
    if not loops:
        raise UnknownLoop(f"{row['name']}: its kernel has no main loop")
    roles = []
    for named in row["loops"]:
        number, at = named["number"], int(named["at"], 16)
        if number >= len(loops) or loops[number].first != at:
            there = ", ".join(f"{n} at {loop.first:#x}" for n, loop in enumerate(loops[:8]))
            raise UnknownLoop(f"{row['name']}: needs loop {number} at {at:#x}, there are {there}")
        roles.append((loops[number], named["warpgroups"]))
    found = asdict(together(roles))
    shapes = [dict(sorted(loop.shapes.items())) for loop, _ in roles]
    rounded = {k: round(v, _DIGITS) if isinstance(v, float) else v for k, v in found.items()}
    return {"registers": kernel.registers, "stack": kernel.stack, "shapes": shapes, **rounded}


class Apart:
    """Wheels taken apart in a folder; each library once."""

    def __init__(self, table: dict[str, Any], wheels: Path, work: Path, cuobjdump: Path) -> None:
        self.work, self.cuobjdump = work, cuobjdump
        self.paths = {name: checked(wheel_of(table, name), wheels) for name in table["wheels"]}
        self._read: dict[Path, list[CompiledKernel]] = {}

    def kernels(self, row: dict[str, Any]) -> list[CompiledKernel]:
        cubin = self._compiled(row) if "source" in row else self._shipped(row)
        if cubin not in self._read:
            self._read[cubin] = read(self.cuobjdump, cubin)
        return self._read[cubin]

    def _folder(self, row: dict[str, Any]) -> Path:
        folder = self.work / row["wheel"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _shipped(self, row: dict[str, Any]) -> Path:
        folder = self._folder(row)
        path, cubin = folder / row["library"], folder / row["cubin"]
        if not path.exists():
            library(self.paths[row["wheel"]], row["library"], folder)
        if not cubin.exists():
            run(self.cuobjdump, "-xelf", row["cubin"], path, cwd=folder)
        if not cubin.exists():
            raise UnknownLoop(f"{row['name']}: {row['library']} has no {row['cubin']}")
        return cubin

    def _compiled(self, row: dict[str, Any]) -> Path:
        folder = self._folder(row)
        include = folder / row["headers"]
        if not include.exists():
            headers(self.paths[row["wheel"]], row["headers"], folder)
        stem = re.sub(r"\W+", "_", row["name"])
        source, cubin = folder / f"{stem}.cu", folder / f"{stem}.cubin"
        source.write_text("\n".join(row["source"]) + "\n")
        nvcc.cubin(source, cubin, (include,))
        return cubin


def again(table: dict[str, Any], apart: Apart) -> list[dict[str, Any]]:
    """Rows with figures made from the wheels. What nvcc of another release compiled has other figures, so that it is
    not compared: its row is None."""
    ours = nvcc.release()
    return [
        {**row, "figures": figures(row, apart.kernels(row)) if row.get("nvcc", ours) == ours else None}
        for row in table["rows"]
    ]


def differences(row: dict[str, Any], now: dict[str, Any]) -> list[str]:
    if now["figures"] is None:
        return [f"not compared: its figures are of nvcc {row['nvcc']}"]
    before = row.get("figures", {})
    return [f"{k} {before.get(k)} became {v}" for k, v in now["figures"].items() if before.get(k) != v]


def written(table: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Rows that were not compared stay as they are."""
    kept = [row if now["figures"] is None else now for row, now in zip(table["rows"], rows, strict=True)]
    return json.dumps({**table, "rows": kept}, indent=2) + "\n"
