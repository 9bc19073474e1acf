"""The adapters' seam tables name ops that exist, each in one place; their READMEs show the same table."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from gen.seams import Table, read, tables
from house.rules import ROOT, files

ADAPTERS = tables(ROOT)


def ops() -> set[str]:
    return {json.loads(path.read_text("utf-8"))["op"] for path in ROOT.glob("kernels/*/op.json")}


def test_every_adapter_has_a_table() -> None:
    folders = {path.parent.name for path in ROOT.glob("adapters/*/entry_points.txt")}
    assert "vllm" in folders
    assert {table.folder.name for table in ADAPTERS} == folders


@pytest.mark.parametrize("table", ADAPTERS, ids=lambda table: table.engine)
def test_the_table_names_ops_that_exist(table: Table) -> None:
    offered = {op for row in table.rows for op in row.ops}
    assert offered.isdisjoint(table.not_offered)
    assert offered | set(table.not_offered) <= ops()
    assert all(table.not_offered.values())


@pytest.mark.parametrize("table", ADAPTERS, ids=lambda table: table.engine)
def test_the_readme_shows_the_seam_table(table: Table) -> None:
    text = (table.folder / "README.md").read_text("utf-8")
    shown = {cells[1].strip(): cells[2].strip() for line in text.splitlines() if len(cells := line.split("|")) > 5}
    rows = {row.name: ", ".join(row.ops) for row in table.rows}
    assert {name: ops for name, ops in shown.items() if name in rows} == rows
    assert all(f"`{op}`" in text for op in table.not_offered)


def compared_names(source: str) -> list[str]:
    """Strings that code compares an attribute `name` with."""
    compares = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare)]
    by_name = [c for c in compares if isinstance(c.left, ast.Attribute) and c.left.attr == "name"]
    return [part.value for c in by_name for part in c.comparators if isinstance(part, ast.Constant)]


def test_no_seam_is_treated_by_its_name() -> None:
    """What is special about a row is a field of it, so that a new row needs no other line."""
    seams = {row.name for table in ADAPTERS for row in table.rows}
    found = {path.name: compared_names(path.read_text("utf-8")) for path in files("adapters/*.py")}
    assert "seams.py" in found
    assert {name: set(strings) & seams for name, strings in found.items() if set(strings) & seams} == {}
    assert compared_names('if seam.name == "attention": pass') == ["attention"]


def test_layers_call_ops_by_the_functions_that_are_made_from_the_declarations() -> None:
    own = [path for path in files("adapters/*.py") if path != ROOT / "adapters/common/ops.py"]
    assert len(own) > 40
    assert [path for path in own if re.search(r"torch\.ops\.opswap\.\w", path.read_text("utf-8"))] == []


def test_what_the_page_of_ops_says_of_an_engine(tmp_path: Path) -> None:
    file = tmp_path / "seams.py"
    file.write_text(
        'SEAMS = (Seam("norm", ("rms_norm",), "x"), Seam("cpu", ("rms_norm", "linear"), "x", cpu_only=True))\n'
        'NOT_OFFERED: dict[str, str] = {"silu": "no layer of its own"}\nTABLE = SeamTable("Toy", SEAMS)\n'
    )
    table = read(file)
    assert table.cell("rms_norm") == "`norm`, `cpu` (CPU)"
    assert [table.cell(op) for op in ("linear", "silu", "copy")] == ["`cpu` (CPU)", "no layer of its own", "not yet"]
    file.write_text("SEAMS = make()\n")
    with pytest.raises(ValueError, match="needs rows Seam"):
        read(file)
