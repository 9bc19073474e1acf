"""Evidence files: what is refused, and what an accepted one lets the library do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from evidence.planted import OP, evidence, op, plant, tree
from gen.evidence import standing
from gen.sources import closure, kernel_digest, stripped
from gen.spec import SpecError
from house.rules import ROOT


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("evidence"))


@pytest.fixture(autouse=True)
def no_evidence_is_left(root: Path):
    yield
    for path in root.glob("evidence/*/*.json"):
        path.unlink()


def test_without_evidence_it_is_experimental(root: Path) -> None:
    found = standing(root, op(root))
    assert (found.experimental, found.correct, found.timed) == ("there is no evidence from a device yet", (), ())


def test_evidence_of_a_card_releases_it(root: Path) -> None:
    plant(root, evidence(root))
    plant(root, evidence(root, "H20", timing=[]), "H20")
    found = standing(root, op(root))
    assert (found.experimental, found.correct, found.timed) == (None, ("H100", "H20"), ("H100",))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backend": "emulated"}, "is of an emulated run, which is no evidence"),
        ({"device": {"model": "emulator", "name": "", "architecture": "", "sms": 1}}, "is of an emulated run"),
        ({"backend": "cpu"}, "has backend 'cpu', needs cuda: a real card"),
        ({"schema": 2}, "has schema 2, this build reads 1"),
        ({"op": "linear"}, "is of the op 'linear'"),
        ({"driver": 580}, "evidence.driver is 580, needs str"),
        ({"correctness": []}, "has no result of correctness"),
        ({"timing": [{"case": {}}]}, r"evidence.timing\[0\] needs the key 'baselines'"),
        ({"device": {"model": "A100", "name": "", "architecture": "sm_80", "sms": 108}}, "is of the device 'A100'"),
        ({"copy_gbps": True}, "evidence.copy_gbps is True"),
    ],
)
def test_what_is_no_evidence_stops_the_build(root: Path, changed: dict, message: str) -> None:
    plant(root, evidence(root, **changed))
    with pytest.raises(SpecError, match=f"evidence/H100/{OP}.json: {message}"):
        standing(root, op(root))


def test_a_card_in_anothers_folder_is_refused(root: Path) -> None:
    plant(root, evidence(root, "H100"), "H200")
    with pytest.raises(SpecError, match="is of the device 'H100', but lies in H200/"):
        standing(root, op(root))


def test_a_missing_key_is_named(root: Path) -> None:
    data = evidence(root)
    del data["clocks_mhz"]["memory"]
    plant(root, data)
    with pytest.raises(SpecError, match=r"evidence.clocks_mhz needs the key 'memory'"):
        standing(root, op(root))


def test_evidence_of_other_sources_is_void_and_says_so(root: Path) -> None:
    plant(root, evidence(root, sources="0" * 64))
    assert standing(root, op(root)).experimental == "its evidence does not hold (H100: it is of other sources)"


def test_a_failed_case_or_an_untried_dtype_keeps_it_experimental(root: Path) -> None:
    rows = evidence(root)["correctness"]
    plant(root, evidence(root, correctness=[{**rows[0], "passed": False}, *rows[1:]]))
    assert "H100: 1 of 3 cases failed" in (standing(root, op(root)).experimental or "")
    plant(root, evidence(root, correctness=rows[:1]))
    assert "H100: scalar = bfloat16 was not tried" in (standing(root, op(root)).experimental or "")


def test_the_digest_follows_what_is_compiled_and_nothing_else(root: Path) -> None:
    before = kernel_digest(root, op(root))
    header = root / "kernels/common/device/vec.h"
    assert header.resolve() in closure(root, *op(root).kernel_files)
    text = header.read_text()
    try:
        header.write_text("// another remark\n" + text)
        assert kernel_digest(root, op(root)) == before
        header.write_text(text.replace("#pragma unroll", "#pragma unroll 1", 1))
        assert kernel_digest(root, op(root)) != before
    finally:
        header.write_text(text)
    assert root.resolve() / "kernels/rms_norm/cpu.cpp" not in closure(root, *op(root).kernel_files)
    assert stripped('a /* x */ b  // "c"\n"// d"') == 'a b "// d"'


def test_the_build_reads_the_same_files(root: Path) -> None:
    command = [sys.executable, "-m", "gen", str(root), "build", str(root / "out")]
    plant(root, evidence(root))
    subprocess.run(command, cwd=root / "native", check=True)
    assert '"rms_norm", {nullptr, "H100", "H100"}' in (root / "out/registry.gen.cpp").read_text()
    plant(root, evidence(root, backend="emulated"))
    ran = subprocess.run(command, cwd=root / "native", check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "is of an emulated run, which is no evidence; remove the file" in ran.stderr


def test_the_committed_evidence_is_sound() -> None:
    assert set(json.loads((ROOT / "evidence/devices.json").read_text())) >= {"H20", "H100", "H200"}
    command = [sys.executable, "-m", "gen", str(ROOT), "evidence"]
    ran = subprocess.run(command, cwd=ROOT / "native", check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ({"bytes": "T*H"}, "floor has unknown keys"),
        ({"touched": {"cache": "T*H"}}, "floor.touched names 'cache', which is no tensor"),
        ({"touched": {"input": {"rows": "index", "of": "H"}}}, "floor.touched names 'index', which is no tensor"),
        ({"touched": {"input": {"rows": "input"}}}, "floor.touched needs a formula or rows and of"),
        ({"touched": {"input": "T*X"}}, "uses \\['X'\\], which no shape has"),
        ({"flops": "__import__('os')"}, "has characters outside the grammar"),
    ],
)
def test_a_floor_that_cannot_be_computed_is_refused(root: Path, floor: dict, message: str) -> None:
    path = op(root).path
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), "floor": floor}))
        with pytest.raises(SpecError, match=message):
            op(root)
    finally:
        path.write_text(text)
