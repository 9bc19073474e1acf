"""The seam tables of adapters/*/seams.py, read from their source: importing one would need the built library."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One seam: its name, its ops, and whether it is for a CPU alone."""

    name: str
    ops: tuple[str, ...]
    cpu_only: bool


@dataclass(frozen=True)
class Table:
    """The seams of one engine, and why its adapter offers no seam for some ops."""

    engine: str
    folder: Path
    rows: tuple[Row, ...]
    not_offered: dict[str, str]

    def cell(self, op: str) -> str:
        """What the table of ops says: the seams that carry the op, or why none does."""
        carrying = [f"`{r.name}`{' (CPU)' if r.cpu_only else ''}" for r in self.rows if op in r.ops]
        return ", ".join(carrying) or self.not_offered.get(op, "not yet")


def read(file: Path) -> Table:
    """The table of one adapter. Raises ValueError where it is not written in literals."""
    tree = ast.parse(file.read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    seams = [call for call in calls if ast.unparse(call.func) == "Seam"]
    tables = [call for call in calls if ast.unparse(call.func) == "SeamTable"]
    named = [n for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "NOT_OFFERED"]
    if not seams or len(tables) != 1 or len(named) != 1 or named[0].value is None:
        raise ValueError(f"{file} needs rows Seam(...), one SeamTable(...) and one NOT_OFFERED: dict[str, str]")
    rows = tuple(map(_row, seams))
    return Table(ast.literal_eval(tables[0].args[0]), file.parent, rows, ast.literal_eval(named[0].value))


def _row(call: ast.Call) -> Row:
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    cpu_only = "cpu_only" in options and ast.literal_eval(options["cpu_only"])
    return Row(ast.literal_eval(call.args[0]), ast.literal_eval(call.args[1]), cpu_only)


def tables(root: Path) -> list[Table]:
    """Those of all adapters of a checkout, in order of their folders."""
    return [read(file) for file in sorted(root.glob("adapters/*/seams.py")) if file.parent.name != "common"]
