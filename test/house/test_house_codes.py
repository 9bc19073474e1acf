"""Codes of errors: each declared in one table, with one meaning; each documented, and each used, in both directions."""

from __future__ import annotations

import json
import re
from collections import Counter

from house.rules import ROOT, files

CODE = re.compile(r"\bOPSWAP_E_[A-Z]+(?:_[A-Z]+)*\b")
#: What opswap_status_name says of a number that is no code; not an error of its own.
NO_CODE = "OPSWAP_E_UNKNOWN"
SOURCES = (
    *("native/*.cpp", "native/*.h", "kernels/*.cpp", "kernels/*.h", "kernels/*.cu", "kernels/*.cuh"),
    *("ipc/*.py", "adapters/*.py", "native/python/*.py", "native/card/*.py"),
    *("ts-client/src/*.ts", "ts-client/src/*.tsx"),
)
Table = dict[str, tuple[str, str]]


def tables() -> dict[str, Table]:
    """Meaning and remedy by code, of the library, of servers and clients, and of the converter."""
    row = re.compile(r'^X\(\d+, (OPSWAP_E_\w+), "(.*)", "(.*)"\)$', re.M)
    library = {m[1]: (m[2], m[3]) for m in row.finditer((ROOT / "native/core/errors.def").read_text())}
    protocol = json.loads((ROOT / "ipc/messages.json").read_text())["errors"]
    converter = json.loads((ROOT / "ts-client/src/convert/errors.json").read_text())
    others = {
        name: {c: (e["meaning"], e["remedy"]) for c, e in table.items()}
        for name, table in (("protocol", protocol), ("converter", converter))
    }
    return {"library": library, **others}


def documented() -> list[tuple[str, str, str]]:
    """Rows of docs/errors.md: code, meaning, remedy."""
    page = (ROOT / "docs/errors.md").read_text()
    return re.findall(r"^\| (?:\d+ \| )?`(OPSWAP_E_\w+)` \| (.+) \| (.+) \|$", page, re.M)


def test_each_code_is_declared_in_one_table_with_one_meaning() -> None:
    found = tables()
    assert all(len(table) > 5 for table in found.values())
    owners = Counter(code for table in found.values() for code in table)
    assert [code for code, count in owners.items() if count > 1] == []
    meanings = Counter(meaning for table in found.values() for meaning, _remedy in table.values())
    assert [meaning for meaning, count in meanings.items() if count > 1] == []
    assert [code for table in found.values() for code, told in table.items() if not all(told)] == []


def test_the_page_has_every_code_and_no_other() -> None:
    declared = [(code, *told) for table in tables().values() for code, told in table.items()]
    assert sorted(documented()) == sorted(declared)


def test_every_code_of_the_sources_is_declared_and_every_declared_one_is_used() -> None:
    declared = {code for table in tables().values() for code in table}
    used = {
        code
        for path in files(*SOURCES)
        if "generated" not in path.parts and ".test." not in path.name
        for code in CODE.findall(path.read_text())
    } - {NO_CODE}
    assert used - declared == set()
    assert declared - used == set()


def test_pages_name_no_code_that_is_not_declared() -> None:
    declared = {code for table in tables().values() for code in table}
    told = {code for page in files("*.md") for code in CODE.findall(page.read_text())}
    assert told - declared == set()
