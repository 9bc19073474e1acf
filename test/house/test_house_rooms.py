"""Every op lives in one room, and all rooms have the same files."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import opswap
import pytest
from house.rules import ROOT

ROOMS = sorted(path.parent for path in ROOT.glob("kernels/*/op.json"))
REF_LINES = 40


def test_every_folder_is_a_room_or_common() -> None:
    folders = {path for path in ROOT.glob("kernels/*") if path.is_dir() and any(path.iterdir())}
    assert {path.name for path in folders - set(ROOMS)} == {"common"}


def test_the_library_has_every_room() -> None:
    assert [op["op"] for op in opswap.manifest()["ops"]] == [room.name for room in ROOMS]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
class TestRoom:
    def test_is_furnished(self, room: Path) -> None:
        assert {"op.json", "ref.py", "cpu.cpp", "README.md"} <= {path.name for path in room.iterdir()}

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
