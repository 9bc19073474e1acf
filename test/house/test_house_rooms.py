"""Every op lives in one room, and all rooms have the same files."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import opswap
import pytest
from evidence.planted import tree
from gen.spec import build_digest
from house.rules import ROOT, files

ROOMS = sorted(path.parent for path in ROOT.glob("kernels/*/op.json"))
REF_LINES = 40


def test_every_folder_is_a_room_or_common() -> None:
    folders = {path for path in ROOT.glob("kernels/*") if path.is_dir() and any(path.iterdir())}
    assert {path.name for path in folders - set(ROOMS)} == {"common"}


def test_the_library_has_every_room() -> None:
    assert [op["op"] for op in opswap.manifest()["ops"]] == [room.name for room in ROOMS]


def test_what_times_every_op_names_none() -> None:
    """A new op with a peer changes nothing outside its room."""
    generic = [ROOT / "test/bench/ops_vs_torch.py", *files("test/gpu/*.py", "kernels/common/peer*.py")]
    names = {room.name for room in ROOMS}
    found = {
        str(path.relative_to(ROOT)): sorted(names & named_strings(path.read_text()))
        for path in generic
        if not path.name.startswith("test_")
    }
    assert len(found) > 3
    assert {path: ops for path, ops in found.items() if ops} == {}


def test_a_reference_or_a_peer_is_no_part_of_the_library(tmp_path: Path) -> None:
    root = tree(tmp_path)
    before = build_digest(root)
    for name in ("rms_norm/peer.py", "rms_norm/ref.py", "common/peer.py", "common/ref_fill.py"):
        (root / "kernels" / name).write_text("changed = True\n")
    assert build_digest(root) == before
    (root / "kernels/rms_norm/cpu.cpp").write_text("// changed\n")
    assert build_digest(root) != before


def named_strings(source: str) -> set[str]:
    """Strings and attributes of Python code: the ways in which it could name an op."""
    nodes = list(ast.walk(ast.parse(source)))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)} | {
        n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "ops"
    }


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
class TestRoom:
    def test_is_furnished(self, room: Path) -> None:
        assert {"op.json", "ref.py", "cpu.cpp", "README.md"} <= {path.name for path in room.iterdir()}

    def test_its_python_is_what_it_means_and_its_peer(self, room: Path) -> None:
        assert {path.name for path in room.glob("*.py")} <= {"ref.py", "peer.py"}

    def test_a_peer_has_a_pair_or_baselines(self, room: Path) -> None:
        path = room / "peer.py"
        if not path.exists():
            return
        body = ast.parse(path.read_text()).body
        pairs = [node.name for node in body if isinstance(node, ast.FunctionDef) and node.name == "cpu_pair"]
        lists = [t.id for node in body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)]
        assert pairs or "GPU_BASELINES" in lists

    def test_declares_itself_with_cases(self, room: Path) -> None:
        spec = json.loads((room / "op.json").read_text())
        assert spec["op"] == room.name
        assert spec["summary"]
        assert len(spec["cases"]) >= 3
        assert all(argument["doc"] for argument in spec["args"])

    def test_has_a_yardstick_and_an_implementation(self, room: Path) -> None:
        source = (room / "cpu.cpp").read_text()
        assert f"OPSWAP_REF({room.name})" in source
        assert f"OPSWAP_CPU({room.name})" in source or f"OPSWAP_COMPOSED({room.name})" in source

    def test_says_what_it_means_in_few_lines(self, room: Path) -> None:
        text = (room / "ref.py").read_text()
        assert len(text.splitlines()) <= REF_LINES
        names = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        assert "ref" in names
