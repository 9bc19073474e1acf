"""The doctor of a tree of TensorRT-LLM: no planted change slips past, and what changes nothing raises nothing."""

from __future__ import annotations

import ast
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from opswap.adapters.common.contract import Contract, ContractError, read
from opswap.adapters.common.drift import drifts, expected_parameters, signature_drift
from opswap.adapters.common.package_text import PackageText
from opswap.adapters.trtllm import doctor
from opswap.adapters.trtllm.probe import CONTRACTS, PACKAGE, PROBE, contract_for, contracts
from skeleton import Planted, planted, tree_of, write

TABLES = {contract.table: contract for contract in contracts()}
EACH = pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)
MODULE = "tensorrt_llm/_torch/modules/linear.py"


def failed(folder: Path) -> list[str]:
    return [row["message"] for row in doctor.tree_checks(folder) if row["state"] == "fail"]


def test_there_are_two_tables_and_each_row_has_a_source() -> None:
    assert set(TABLES) == {"1.2", "main"}
    for contract in TABLES.values():
        text = json.loads((CONTRACTS / f"{contract.table}.json").read_text())
        sources = {source["module"]: source for source in text["sources"]}
        assert {row.module for row in contract.rows} == set(sources)
        assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for commit in contract.commits.values() if commit)
        assert all(s["file"] == s["module"].replace(".", "/") + ".py" for s in sources.values())
        unknown = [module for module, commit in contract.commits.items() if commit is None]
        assert len(unknown) <= 3, f"of most sources the commit is known: {unknown}"
        assert len({(row.kind, row.where) for row in contract.rows}) == len(contract.rows)


@EACH
def test_a_tree_as_it_was_read_is_healthy(contract: Contract, tmp_path: Path) -> None:
    write(tree_of(contract), tmp_path)
    assert failed(tmp_path) == []
    assert failed(tmp_path / PACKAGE) == [], "the package's own folder will do as well"


@EACH
def test_no_planted_change_slips_past(contract: Contract, tmp_path: Path) -> None:
    """Each of its kind on each row; the doctor has to name that row."""
    changes = list(planted(contract))
    past = [change.what for change in changes if not caught(change, contract, tmp_path)]
    kinds = {change.what.rpartition(": ")[2] for change in changes}
    assert {"renamed", "moved", "an argument less", "an argument renamed", "another default"} <= kinds
    assert len(changes) > 250
    assert past == []


def caught(change: Planted, contract: Contract, folder: Path) -> bool:
    """The modules that the change does not touch are left out: only the row's own, and where it went."""
    kept = {name: text for name, text in change.tree.items() if name.startswith(change.row.module.replace(".", "/"))}
    place = folder / str(abs(hash(change.what)))
    write(kept, place)
    (place / PACKAGE).mkdir(exist_ok=True)
    rows = tuple(row for row in contract.rows if row.module == change.row.module)
    part = Contract(contract.table, contract.package, contract.first, contract.below, rows, contract.commits)
    return any(drift.row == change.row for drift in drifts(part, PackageText(place, PACKAGE)))


@pytest.mark.parametrize("seed", range(50))
def test_fifty_planted_changes_end_the_doctor_with_1(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The same as a user sees it, on whole trees: 50 drawn from both tables."""
    contract = list(TABLES.values())[seed % 2]
    change = random.Random(seed).choice(list(planted(contract)))
    write(change.tree, tmp_path)
    assert doctor.main([str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert change.row.where in told and told.endswith("NOT healthy\n")


@EACH
def test_what_changes_nothing_raises_nothing(contract: Contract, tmp_path: Path) -> None:
    """Docstrings, comments, annotations, functions and classes that are new, and definitions in another order."""
    for name, text in tree_of(contract).items():
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.body.insert(0, ast.Expr(ast.Constant("Says what it does.")))
                for argument in node.args.args:
                    argument.annotation = ast.Name("Tensor")
                node.returns = ast.Name("Tensor")
        first = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        others = [node for node in tree.body if node not in first]
        tree.body = [*first, *reversed(others), *ast.parse("def quite_new(a, b=1): ...\nclass New: ...\n").body]
        write({name: f"# A comment.\n{ast.unparse(ast.fix_missing_locations(tree))}\n"}, tmp_path)
    assert failed(tmp_path) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("self, a, b=1", "self, a, b=2", "the default of b is 2, not 1"),
        ("self, a, b=1", "self, a, b", "the default of b is none, not 1"),
        ("a, b", "b, a", "the order is b, a"),
        ("a, b", "a, *, b", "b is passed by name, not by either"),
        ("a, b", "a, /, b", "a is passed by position, not by either"),
        ("a, b", "a, c", "b is gone; c is new"),
        ("a, **kwargs", "a", "kwargs is gone"),
        ("a, *args", "a, *rest", "args is gone; rest is new"),
    ],
)
def test_a_signature_that_drifted_is_told_by_what_changed(before: str, after: str, said: str) -> None:
    mine, theirs = (expected_parameters(text) for text in (before, after))
    assert signature_drift(mine, theirs) == f"its parameters differ: {said}"
    assert signature_drift(mine, mine) == ""


def test_what_moved_is_told_where_it_is_now(tmp_path: Path) -> None:
    tree = tree_of(TABLES["1.2"])
    tree["tensorrt_llm/_torch/layers/linear.py"] = tree.pop(MODULE)
    write(tree, tmp_path)
    told = next(message for message in failed(tmp_path) if "get_quant_method" in message)
    assert "there is no module tensorrt_llm._torch.modules.linear" in told
    assert "tensorrt_llm._torch.layers.linear has one of that name" in told


@pytest.mark.parametrize("text", ["def f(:\n", "x = '\0'\n", "("], ids=["syntax", "null", "open"])
def test_a_file_that_cannot_be_parsed_is_a_finding(text: str, tmp_path: Path) -> None:
    tree = tree_of(TABLES["1.2"])
    tree[MODULE] = text
    write(tree, tmp_path)
    assert any("cannot be parsed" in message for message in failed(tmp_path))


def test_nothing_of_the_tree_is_imported_or_run(tmp_path: Path) -> None:
    tree = {name: f"raise SystemExit(9)\n{text}" for name, text in tree_of(TABLES["main"]).items()}
    write(tree, tmp_path)
    assert failed(tmp_path) == []
    assert PACKAGE not in sys.modules


@pytest.mark.parametrize(
    ("version", "table"),
    [("1.2.0", "1.2"), ("1.2.1", "1.2"), ("1.2.0rc2", "1.2"), ("1.4.0rc1", "main"), ("2.0", "main")],
)
def test_the_table_is_that_of_the_version(version: str, table: str) -> None:
    found = contract_for(version)
    assert found and found.table == table
    assert PROBE.judge(version).state == ("warn" if version != "2.0" else "fail"), "none was run, and 2.0 was not read"


@pytest.mark.parametrize("version", ["1.1.0", "1.3.0rc22", "0.21.0", ""])
def test_a_version_without_a_table_is_refused(version: str, tmp_path: Path) -> None:
    write(tree_of(TABLES["1.2"], version=version or "none"), tmp_path)
    (row,) = doctor.tree_checks(tmp_path)
    assert row["state"] == "fail" and "is outside the tested range" in row["message"]
    assert "pip install tensorrt_llm==1.2.1" in row["remedy"] and "--table 1.2 or main" in row["remedy"]
    assert failed(tmp_path) and [r for r in doctor.tree_checks(tmp_path, "1.2") if r["state"] == "fail"] == []


def test_a_folder_without_the_package_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert doctor.main([str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["healthy"] and "site-packages" in told["checks"][0]["message"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read"),
        ('{"format": 2}', "has format 2, this opswap reads 1"),
        (
            '{"format": 1, "sources": [], "rows": [{"seam": "s", "kind": "text", "module": "m", "name": "n"}]}',
            "a source",
        ),
        (
            '{"format": 1, "sources": [{"module": "m", "commit": null}],'
            ' "rows": [{"seam": "s", "kind": "function", "module": "m", "name": "n"}]}',
            "has no parameters",
        ),
    ],
)
def test_a_table_that_is_not_whole_is_refused(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(text)
    with pytest.raises(ContractError, match=why):
        read(file)


def test_the_doctor_needs_neither_torch_nor_the_engine(tmp_path: Path) -> None:
    write(tree_of(TABLES["main"]), tmp_path)
    code = (
        "import sys; from opswap.adapters.trtllm import doctor; code = doctor.main([sys.argv[1]]); "
        "assert not {'torch', 'tensorrt_llm'} & set(sys.modules); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.endswith("\nhealthy\n"), ran.stdout + ran.stderr
