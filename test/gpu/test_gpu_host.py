"""The GPU suite's host path, with the library on the emulator in the card's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from card.evidence import report
from card.evidence.abi import Library
from card.evidence.backend import model_of
from card.evidence.examine import norm_limit, relative_norm
from evidence.planted import evidence as planted_evidence
from evidence.planted import op as planted_op
from evidence.planted import plant, tree
from gen.evidence import check, standing
from gen.spec import SpecError
from gpu.__main__ import BUILD, PATHS
from gpu.builder import ROOT, Plain

LIBRARY = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")
needs_emulator = pytest.mark.skipif(not LIBRARY, reason="OPSWAP_EMULATED_LIBRARY names no library; npm test builds one")
OP = "rms_norm"


def suite(*args: str, library: str = LIBRARY, **env: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([*map(str, PATHS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "gpu", *args, *(["--library", library] if library else [])]
    every = {**os.environ, "PYTHONPATH": paths, **env}
    return subprocess.run(command, cwd=ROOT, env=every, capture_output=True, text=True, timeout=300, check=False)


def last_row(text: str) -> str:
    return text.strip().splitlines()[-1]


def committed() -> set[Path]:
    return set((ROOT / "evidence").glob("*/*.json"))


@needs_emulator
def test_a_whole_run_is_a_table_and_no_evidence() -> None:
    before = committed()
    ran = suite(OP, "--backend", "emulated", "--seed", "7")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "inputs from seed 7" in ran.stdout
    row = last_row(ran.stdout).split()
    assert row[:2] == [OP, "emulated"]
    assert (int(row[2]) > 0, row[3]) == (True, "0")
    assert committed() == before
    path = BUILD / "emulated/emulator" / f"{OP}.json"
    with pytest.raises(SpecError, match="is of an emulated run, which is no evidence"):
        check(json.loads(path.read_text()), path, {"emulator"})


@needs_emulator
def test_two_runs_have_different_inputs() -> None:
    seeds = {suite(OP, "--backend", "emulated").stdout.split("seed ")[1].split()[0] for _ in range(2)}
    assert len(seeds) == 2


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("stub")
    out = folder / "libstub.so"
    source = [str(ROOT / "test/gpu/stub.cpp"), f"-I{ROOT / 'native/include'}"]
    place = Path(LIBRARY).parent
    links = [f"-L{place}", "-Wl,--no-as-needed", "-lopswap", f"-Wl,-rpath,{place}"]
    subprocess.run(["g++", "-std=c++20", "-shared", "-fPIC", *source, *links, "-o", str(out)], check=True)
    return str(out)


@needs_emulator
@pytest.mark.parametrize(
    ("what", "remark"),
    [("wrong", "elements differ; worst at (0, 0)"), ("hang", "stopped after 5 s"), ("crash", "ended with -6")],
)
def test_an_op_that_fails_is_told_and_recorded_nowhere(stub: str, what: str, remark: str) -> None:
    path = BUILD / "emulated/emulator" / f"{OP}.json"
    path.unlink(missing_ok=True)
    ran = suite(OP, "--backend", "emulated", "--op-seconds", "5", library=stub, OPSWAP_STUB=what)
    assert ran.returncode == 1
    assert remark in last_row(ran.stdout)
    assert not path.exists()


@needs_emulator
def test_time_that_is_over_starts_nothing() -> None:
    ran = suite(OP, "--backend", "emulated", "--seconds", "0")
    assert ran.returncode == 1
    assert "not started: 0 s are over" in last_row(ran.stdout)


def test_what_is_missing_is_named() -> None:
    ran = suite(OP, "--backend", "cuda", library="")
    assert ran.returncode == 2
    assert "missing: torch 2.11" in ran.stdout or "missing: a card that torch can use" in ran.stdout
    ran = suite("no_such_op", "--backend", "emulated")
    assert (ran.returncode, ran.stdout.split(";")[0]) == (2, "no kernels in no_such_op")


def test_it_needs_neither_pytest_nor_the_package() -> None:
    """On a card's machine there is Python with torch, and nothing of the project is installed."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(['opswap', 'pytest']))"
    code = f"{blocked}; import card.evidence.worker, roofline.__main__"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def card_outcome(root: Path) -> report.Outcome:
    """What a worker on a card would have said of every dtype."""
    data = planted_evidence(root)
    timing = {"case": {"T": 4096, "H": 4096}, "types": {"scalar": "bfloat16"}, "us": 25.0, "us_range": [24.0, 27.0]}
    timing |= {"clocks_mhz": {"sm": 1755, "memory": 2619}, "bytes": 1 << 26, "share_of_copy": 0.93}
    timing |= {"share_of_matrix": None, "baselines": {"torch": 50.0, "flashinfer-python": 30.0}}
    card = {k: data[k] for k in ("driver", "cuda", "copy_gbps", "matrix_tflops")}
    card["clocks_mhz"] = {"sm": [1980], "memory": [2619]}
    return report.Outcome(OP, data["device"], card, data["correctness"], [timing])


def test_a_cards_outcome_becomes_evidence_that_the_build_accepts(tmp_path: Path) -> None:
    root = tree(tmp_path)
    outcome = card_outcome(root)
    sources = planted_evidence(root)["sources"]
    plant(root, report.evidence(outcome, "cuda", "0" * 40, sources))
    found = standing(root, planted_op(root))
    assert (found.experimental, found.timed) == (None, ("H100",))
    written = report.write_evidence(tmp_path / "written", planted_evidence(root))
    assert json.loads(written.read_text()) == planted_evidence(root)
    assert sum('"passed"' in line for line in written.read_text().splitlines()) == 3
    assert report.clocks(outcome) == {"sm": [1755, 1980], "memory": [2619]}
    row = last_row(report.table([outcome], "cuda"))
    assert row.split() == [OP, "H100", "3", "0", "0", "4.0e-04", "25.0", "93%", "1.20x", "flashinfer-python"]


def test_a_worker_that_stops_early_is_not_sound(tmp_path: Path) -> None:
    said = tmp_path / "said.jsonl"
    said.write_text(json.dumps({"kind": "case", "case": {}, "types": {}, "passed": True, "outputs": {}}) + "\n")
    assert report.read_outcome(OP, said, "").ended == "ended without a word"
    said.write_text(said.read_text() + '{"kind": "end"}\n')
    assert report.read_outcome(OP, said, "").sound
    assert not report.read_outcome(OP, said, "stopped after 5 s").sound
    assert not report.Outcome(OP).sound


def test_relative_norm_sees_what_a_tolerance_of_elements_does_not() -> None:
    exact = np.ones(1000)
    assert relative_norm(exact, exact) == 0
    assert relative_norm(exact * 1.01, exact) == pytest.approx(0.01)
    assert relative_norm(np.where(np.arange(1000) == 3, np.nan, exact), exact) == float("inf")
    assert norm_limit(np.dtype("int32")) == 0
    assert norm_limit(np.dtype("float16")) < 0.002 < norm_limit(np.dtype("float16")) * 1.1


def test_models_are_read_from_names() -> None:
    names = ["NVIDIA H100 80GB HBM3", "NVIDIA H20", "NVIDIA H200", "Tesla T4"]
    assert [model_of(name) for name in names] == ["H100", "H20", "H200", "Tesla T4"]


@needs_emulator
def test_the_library_is_asked_in_its_own_words() -> None:
    assert Library(Path(LIBRARY)).device_status.startswith("emulated: ")


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("OPSWAP_NVCC"), reason="OPSWAP_NVCC names no nvcc; npm test does where it has one"
)
def test_the_compilers_alone_make_a_library(tmp_path: Path) -> None:
    library = Library(Plain(tmp_path / "out", os.environ["OPSWAP_NVCC"], tree(tmp_path)).build())
    assert library.device_status.startswith(("cuda: ", "no usable CUDA device: "))
    assert [impl["name"] for impl in library.why(OP)["impls"]] == ["sm90"]
