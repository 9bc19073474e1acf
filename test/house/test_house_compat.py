"""Each adapter says which versions of its engine it works with, and each row's evidence can be looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from house.rules import ROOT
from opswap.adapters.common.compat import read, version_key

FILES = sorted(ROOT.glob("adapters/*/compat.json"))
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)


def test_every_adapter_has_a_table_of_versions() -> None:
    folders = {file.parent for file in ROOT.glob("adapters/*/entry_points.txt")}
    assert folders and folders <= {file.parent for file in FILES}


@each
def test_it_is_sound_and_newest_first(file: Path) -> None:
    rows = read(file).rows
    keys = [version_key(row.release or row.version) for row in rows]
    assert all(keys) and len(set(keys)) == len(keys)
    assert keys == sorted(keys, reverse=True)


@each
def test_evidence_lies_where_it_says(file: Path) -> None:
    places = [evidence.where for row in read(file).rows for evidence in row.evidence]
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []


@each
def test_a_remedy_is_a_version_that_works(file: Path) -> None:
    compat = read(file)
    for row in compat.rows:
        assert not row.broken or row.remedy == f"pip install {compat.package}=={compat.best}"


@each
def test_the_page_and_the_command_line_have_each_row(file: Path) -> None:
    data = json.loads(file.read_text("utf-8"))
    page = (ROOT / "docs/engines/README.md").read_text("utf-8")
    table = (ROOT / "ts-client/src/generated/compat.ts").read_text("utf-8")
    for row in data["rows"]:
        assert f"| {data['engine']} | {row['version']} | {row['status']} |" in page
        for text in (*row.get("broken", []), *(evidence["what"] for evidence in row["evidence"])):
            assert text.replace("|", "\\|") in page and (text in table or json.dumps(text)[1:-1] in table)
