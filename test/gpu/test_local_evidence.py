"""Evidence from a user's own card: planted files, what the library makes of them, and the runs that are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from card.evidence.folder import keep, sealed
from card.evidence.rooms import Room
from gpu.builder import ROOT

OP = "rms_norm"
EMULATED = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")
needs_emulator = pytest.mark.skipif(not EMULATED, reason="OPSWAP_EMULATED_LIBRARY names no library")
WHY = "import json, sys, opswap; print(json.dumps(opswap.why(sys.argv[1])))"


def python(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    every = {**os.environ, **env}
    return subprocess.run([sys.executable, *words], env=every, capture_output=True, text=True, timeout=300, check=False)


def why(place: Path, op: str) -> dict[str, Any]:
    ran = python("-c", WHY, op, OPSWAP_EVIDENCE_DIR=str(place))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def sm90(place: Path, op: str = OP) -> dict[str, Any]:
    return next((impl for impl in why(place, op)["impls"] if impl["name"] == "sm90"), {})


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = sm90(tmp_path_factory.mktemp("none"))
    if not found:
        pytest.skip("this build has no CUDA kernels")
    return found["sources"]


@pytest.fixture
def whole(sources: str) -> dict[str, Any]:
    """What a run on an H100 would have kept."""
    room = Room(ROOT / "kernels" / OP)
    outputs = {"out": {"max_abs": 0.001, "relative_norm": 0.0004}}
    rows = [
        {"case": case, "types": types, "passed": True, "outputs": outputs}
        for case in room.spec["cases"]
        for types in room.type_choices()
    ]
    timing = {"case": {"T": 1, "H": 64}, "types": {"scalar": "bfloat16"}, "us": 1.5, "bytes": 384}
    timing |= {"share_of_copy": 0.5, "share_of_matrix": None, "baselines": {}}
    return {
        **{"schema": 1, "op": OP, "implementation": "sm90", "backend": "cuda", "commit": "0" * 40, "sources": sources},
        "device": {"model": "H100", "name": "NVIDIA H100 80GB HBM3", "architecture": "sm_90", "sms": 132},
        **{"driver": "580.1", "cuda": "13.0", "clocks_mhz": {"sm": [1980], "memory": [2619]}, "copy_gbps": 2900.0},
        **{"matrix_tflops": {}, "correctness": rows, "timing": [timing], "build": "0" * 64, "version": "0.1.0"},
        **{"refused": [], "date": "2026-01-02"},
    }


def test_a_file_of_a_card_lifts_the_bar_of_its_op_alone(whole: dict[str, Any], tmp_path: Path) -> None:
    assert "experimental" in sm90(tmp_path)["reason"]
    assert "device_choice" not in why(tmp_path, OP)
    keep(tmp_path, whole)
    assert why(tmp_path, OP)["device_choice"] == "sm90"
    assert "device_choice" not in why(tmp_path, "copy")
    found = sm90(tmp_path)
    assert "experimental" not in found["reason"]
    assert "evidence: local, NVIDIA H100 80GB HBM3, 2026-01-02" in found["reason"]
    assert (found["correct_on"], found["timed_on"]) == (["H100"], ["H100"])
    assert "experimental" in sm90(tmp_path, "copy")["reason"]


def test_correctness_counts_for_the_architecture_and_speed_for_its_model(whole: dict[str, Any], tmp_path: Path) -> None:
    keep(tmp_path, {**whole, "timing": []})
    assert (sm90(tmp_path)["correct_on"], sm90(tmp_path)["timed_on"]) == (["H100"], [])
    device = {"model": "H200", "name": "NVIDIA H200", "architecture": "sm_90", "sms": 132}
    keep(tmp_path, {**whole, "device": device})
    assert (sm90(tmp_path)["correct_on"], sm90(tmp_path)["timed_on"]) == (["H100", "H200"], ["H200"])


REFUSED = {
    "other sources": ({"sources": "0" * 64, "build": "abcdef012345678"}, "of other sources, build abcdef012345"),
    "emulated": ({"backend": "emulated"}, "of an emulated run, which is no evidence"),
    "architecture": (
        {"device": {"model": "H100", "name": "x", "architecture": "sm_80", "sms": 1}},
        "architecture sm_80, the kernels are made for sm_90",
    ),
    "no cases": ({"correctness": []}, "it has 0 of"),
    "another key": ({"more": 1}, "does not know its key 'more'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_does_not_count_is_told(whole: dict[str, Any], tmp_path: Path, name: str) -> None:
    change, told = REFUSED[name]
    keep(tmp_path, {**whole, **change})
    reason = sm90(tmp_path)["reason"]
    assert "experimental" in reason
    assert f"OPSWAP_E_EVIDENCE: H100/{OP}.json is refused: " in reason
    assert told in reason
    shown = python("-m", "opswap.evidence", "show", OPSWAP_EVIDENCE_DIR=str(tmp_path))
    assert (shown.returncode, told in shown.stdout) == (1, True)


def test_the_doctor_counts_files_and_warns_of_refused_ones(whole: dict[str, Any], tmp_path: Path) -> None:
    code = "import json; from opswap.adapters.common.installation import evidence_check as e; print(json.dumps(e()))"
    said = []
    for data in (None, whole, {**whole, "sources": "0" * 64}):
        if data is not None:
            keep(tmp_path, data)
        ran = python("-c", code, OPSWAP_EVIDENCE_DIR=str(tmp_path))
        assert ran.returncode == 0, ran.stderr
        said.append(json.loads(ran.stdout))
    assert [row["state"] for row in said] == ["ok", "ok", "warn"]
    assert said[1]["message"] == "local, of 1 ops"
    assert "of other sources" in said[2]["message"]


def test_an_edited_file_is_refused_with_the_remedy(whole: dict[str, Any], tmp_path: Path) -> None:
    path = keep(tmp_path, {**whole, "timing": []})
    path.write_text(path.read_text().replace("0.001", "0.000"))
    reason = sm90(tmp_path)["reason"]
    assert "it was edited" in reason
    assert f"run: python -m opswap.evidence run {OP}" in reason


def test_a_file_of_an_unknown_op_or_no_file_at_all_is_listed(whole: dict[str, Any], tmp_path: Path) -> None:
    keep(tmp_path, {**whole, "op": "no_such_op"})
    (tmp_path / "H100" / f"{OP}.json").mkdir()
    shown = python("-m", "opswap.evidence", "show", "--json", OPSWAP_EVIDENCE_DIR=str(tmp_path))
    rows = {row["op"]: row["reason"] for row in json.loads(shown.stdout)["files"]}
    assert "no kernels of that name" in rows["no_such_op"]
    assert "no regular file" in rows[OP]


def test_names_and_keys_of_any_bytes_are_told(whole: dict[str, Any], tmp_path: Path) -> None:
    for model in (b"H\xff\n\xc3", b'"\\', b"m" * 255, *(b"%d" % n for n in range(40))):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + model))).mkdir()
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + model)) / f"{OP}.json").write_bytes(b"{}")
    keep(tmp_path, {**whole, "k\u00e9y" * 5000: 1})
    found = sm90(tmp_path)
    assert len(found["reason"]) < 4096
    assert found["reason"].endswith("more: python -m opswap.evidence show")
    shown = python("-m", "opswap.evidence", "show", OPSWAP_EVIDENCE_DIR=str(tmp_path))
    assert shown.returncode == 1, shown.stderr
    assert shown.stdout.count("OPSWAP_E_EVIDENCE") == 44


def test_too_many_files_are_not_read(whole: dict[str, Any], tmp_path: Path) -> None:
    keep(tmp_path, whole)
    for number in range(256):
        (tmp_path / "H100" / f"more{number}.json").write_text("{}")
    reason = sm90(tmp_path)["reason"]
    assert "experimental" in reason
    assert "was not read: more than 256 files" in reason


def test_the_export_is_what_the_repository_takes(whole: dict[str, Any], tmp_path: Path) -> None:
    from gen.evidence import check

    keep(tmp_path / "state", whole)
    words = ("-m", "opswap.evidence", "export", str(tmp_path / "out"))
    ran = python(*words, OPSWAP_EVIDENCE_DIR=str(tmp_path / "state"))
    assert ran.returncode == 0, ran.stderr
    path = tmp_path / "out/H100" / f"{OP}.json"
    data = json.loads(path.read_text())
    check(data, path, {"H100"})
    assert set(whole) - set(data) == {"build", "version", "refused", "date"}
    ran = python(*words, OPSWAP_EVIDENCE_DIR=str(tmp_path / "empty"))
    assert (ran.returncode, "OPSWAP_E_EVIDENCE" in ran.stderr) == (1, True)


def test_the_digest_is_of_all_that_follows_it(whole: dict[str, Any]) -> None:
    text = sealed(whole)
    assert json.loads(text) == {"digest": json.loads(text)["digest"], **whole}


@needs_emulator
def test_an_emulated_run_passes_and_is_no_evidence(tmp_path: Path) -> None:
    words = ("-m", "opswap.evidence", "run", OP, "--small", "--library", EMULATED)
    ran = python(*words, OPSWAP_EVIDENCE_DIR=str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "emulated, no evidence: nothing is kept" in ran.stdout
    told = json.loads(python(*words, "--json", OPSWAP_EVIDENCE_DIR=str(tmp_path)).stdout)
    assert (told["backend"], told["is_evidence"], told["kept"]) == (
        "emulated",
        False,
        ["emulated, no evidence: nothing is kept"],
    )
    assert told["ops"][0]["passed"] > 0
    assert list(tmp_path.iterdir()) == []


def test_without_a_card_it_says_what_was_found_and_needed(tmp_path: Path, sources: str) -> None:
    ran = python("-m", "opswap.evidence", "run", OP, OPSWAP_EVIDENCE_DIR=str(tmp_path))
    assert (ran.returncode, "[OPSWAP_E_CARD]; run on a machine whose card is a Hopper" in ran.stderr) == (1, True)
    assert "Traceback" not in ran.stderr


@needs_emulator
def test_what_the_extra_lacks_is_named(tmp_path: Path) -> None:
    block = "import sys; sys.modules['ml_dtypes'] = None\nimport importlib.util as u; f = u.find_spec\n"
    block += "u.find_spec = lambda name, *a: None if name == 'ml_dtypes' else f(name, *a)\n"
    (tmp_path / "sitecustomize.py").write_text(block)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ran = python("-m", "opswap.evidence", "run", OP, "--library", EMULATED, PYTHONPATH=path)
    assert ran.returncode == 1
    assert "evidence needs ml_dtypes" in ran.stderr
    assert "-m pip install ml_dtypes" in ran.stderr
