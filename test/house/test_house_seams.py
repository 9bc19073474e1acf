"""The adapter's seam table names ops that exist, each in one place; the README shows the same table."""

from __future__ import annotations

import ast
import json

from house.rules import ROOT

ADAPTER = ROOT / "adapters/vllm"


def table() -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Rows (name to ops) and the ops not offered, read from the source: importing it would need the library."""
    tree = ast.parse((ADAPTER / "seams.py").read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Seam"]
    rows = {ast.literal_eval(call.args[0]): ast.literal_eval(call.args[1]) for call in calls}
    named = [n for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    left_out = next(ast.literal_eval(n.value) for n in named if n.target.id == "NOT_OFFERED" and n.value is not None)
    return rows, left_out


def ops() -> set[str]:
    return {json.loads(path.read_text("utf-8"))["op"] for path in ROOT.glob("kernels/*/op.json")}


def test_the_table_names_ops_that_exist() -> None:
    rows, left_out = table()
    offered = {op for row in rows.values() for op in row}
    assert offered.isdisjoint(left_out)
    assert offered | set(left_out) <= ops()
    assert all(left_out.values())


def test_the_readme_shows_the_seam_table() -> None:
    text = (ADAPTER / "README.md").read_text("utf-8")
    shown = {cells[1].strip(): cells[2].strip() for line in text.splitlines() if len(cells := line.split("|")) > 5}
    rows, left_out = table()
    assert {name: ops for name, ops in shown.items() if name in rows} == {n: ", ".join(o) for n, o in rows.items()}
    assert all(f"`{op}`" in text for op in left_out)
