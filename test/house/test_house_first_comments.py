"""Every hand-written source file begins with what it is: a stranger reads names and first comments before any code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from house.rules import ROOT, files

KINDS = ("*.ts", "*.tsx", "*.py", "*.h", "*.cpp", "*.cu", "*.mjs")


def begins_with_comment(name: str, text: str) -> bool:
    """A command's first line may say what runs it."""
    if text.startswith("#!"):
        text = text.partition("\n")[2]
    if name.endswith(".py"):
        return bool(ast.get_docstring(ast.parse(text)))
    return text.lstrip().startswith(("// ", "/* ", "/** ", "/**\n"))


def is_test(path: Path) -> bool:
    return path.name.startswith("test_") or ".test." in path.name


def test_every_source_file_begins_with_a_comment() -> None:
    found = [path for path in files(*KINDS) if "generated" not in path.parts and not is_test(path)]
    assert len(found) > 800
    assert [str(p.relative_to(ROOT)) for p in found if not begins_with_comment(p.name, p.read_text())] == []


@pytest.mark.parametrize(
    ("name", "text", "begins"),
    [
        ("a.ts", "/** Sizes. */\nimport x;\n", True),
        ("a.ts", "#!/usr/bin/env node\n// Sizes.\n", True),
        ("a.ts", "import x;\n\n/** Sizes. */\n", False),
        ("a.h", "#pragma once\n// Sizes.\n", False),
        ("a.h", "//\n#pragma once\n", False),
        ("a.py", '"""Sizes."""\n', True),
        ("a.py", "# Sizes.\nimport x\n", False),
    ],
)
def test_what_comes_first_counts(name: str, text: str, begins: bool) -> None:
    assert begins_with_comment(name, text) == begins
