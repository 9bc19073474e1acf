"""A new op is a new room and nothing else: in a copy of the checkout, made by the command, built, and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from house.rules import ROOT, files

#: Rooms that the copy keeps: enough for a library, little enough to build in seconds.
KEPT = {"common", "rms_norm"}
GENERATED = {"README.md", "adapters/common/ops.py", "docs/ops.md", "ts-client/src/generated/ops.ts"}
CALL = """
import numpy as np, opswap
x = np.arange(6, dtype=np.float32).reshape(2, 3)
for impl in ("ref", "cpu"):
    out = np.zeros_like(x)
    opswap.call("demo", out, x, impl=impl)
    assert (out == x).all(), impl
spec = opswap.op_spec("demo")
assert (spec["toggle_class"], spec["toggle_classes"]) == ("live", {"ref": "recapture"}), spec
classes = {impl["name"]: impl["toggle_class"] for impl in opswap.why("demo")["impls"]}
assert classes.pop("ref") == "recapture" and set(classes.values()) == {"live"}, classes
row = next(row for row in opswap.stats()["ops"] if row["op"] == "demo")
assert {impl["toggle_class"] for impl in row["impls"] if impl["name"] != "ref"} == {"live"}, row
print(opswap.why("demo")["active"])
"""


def _kept(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return parts[0] != "kernels" or parts[1] in KEPT


def _run(copy: Path, *command: str) -> str:
    # The copy has packages of its own; those of this checkout must not stand in for them.
    env = {**os.environ, "PYTHONPATH": str(copy / "build/python"), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    return ran.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("copy")
    for path in filter(_kept, files(".")):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    _run(folder / "native", sys.executable, "-m", "gen", str(folder), "commit")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    _run(folder, "git", "init", "-q")
    _run(folder, "git", "add", "-A", "--", ".", ":!node_modules")
    _run(folder, *git, "commit", "-q", "-m", "copy")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_new_op_touches_nothing_else_and_works(copy: Path) -> None:
    made = _run(copy, "npm", "run", "--silent", "new", "--", "op", "demo")
    assert made.count("kernels/demo/") == 4
    declaration = copy / "kernels/demo/op.json"
    text = declaration.read_text("utf-8")
    classes = '"toggle_class": {"default": "live", "ref": "recapture"}'
    assert text.count('"toggle_class": "live"') == 1
    declaration.write_text(text.replace('"toggle_class": "live"', classes), "utf-8")
    _run(copy, "npm", "run", "--silent", "build")
    changed = _run(copy, "git", "status", "--porcelain", "--", ".", ":!node_modules").split("\n")
    names = {line[3:] for line in changed if line}
    assert names == {"kernels/demo/"} | GENERATED
    assert _run(copy, sys.executable, "-c", CALL).strip() == "cpu"
    tests = [
        "-m",
        "pytest",
        "-q",
        "test/ops",
        "-k",
        "demo",
        "-p",
        "no:cacheprovider",
        "--ignore-glob=*/test_torch_*.py",
        "--ignore-glob=*/test_emulated*.py",
    ]
    ran = _run(copy, sys.executable, *tests)
    assert " passed" in ran
    assert "failed" not in ran


@pytest.mark.slow
def test_the_worked_example_of_the_page_builds_and_runs(copy: Path) -> None:
    page = (ROOT / "kernels/README.md").read_text("utf-8")
    shown = dict(re.findall(r"^`kernels/my_op/(\S+)`[^\n]*\n\n```\w+\n(.*?)^```", page, re.M | re.S))
    assert set(shown) == {"ref.py", "cpu.cpp", "sm90.cu"}
    _run(copy, "npm", "run", "--silent", "new", "--", "op", "my_op")
    for name, text in shown.items():
        (copy / "kernels/my_op" / name).write_text(text, "utf-8")
    _run(copy, "npm", "run", "--silent", "build")
    tests = ["-m", "pytest", "-q", "test/ops/test_rooms.py", "-k", "my_op", "-p", "no:cacheprovider"]
    assert " passed" in _run(copy, sys.executable, *tests)
    emulated = _run(copy, "npm", "run", "--silent", "emulate", "--", "my_op", "-k", "my_op")
    assert re.search(r"\b\d+ passed", emulated)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Demo", "2fast", "rms_norm", "a b"])
def test_bad_names_are_refused_in_words(copy: Path, name: str) -> None:
    command = ["npm", "run", "--silent", "new", "--", "op", name]
    ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("opswap: ")
