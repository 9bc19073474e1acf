"""Engines' own kernels take what their op's version calls them with: an engine would refuse them only as it starts."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPS = {path.parent.name: json.loads(path.read_text())["args"] for path in ROOT.glob("kernels/*/op.json")}


def own_kernels() -> list:
    found = []
    for path in sorted(ROOT.glob("adapters/*/framework.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name in OPS:
                found.append(pytest.param(node, id=f"{path.parent.name}:{node.name}"))
    return found


def test_there_are_some() -> None:
    assert len(own_kernels()) > 10


@pytest.mark.parametrize("function", own_kernels())
def test_it_takes_the_arguments_of_its_op(function: ast.FunctionDef) -> None:
    """By position, so that names are its own; one that takes any number says so by itself."""
    assert function.args.vararg or len(function.args.args) == len(OPS[function.name])
