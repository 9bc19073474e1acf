"""The timing of the GPU suite through torch, with torch.cuda played by the host and the library on the emulator."""

from __future__ import annotations

import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from card.evidence import measure, report, worker
from card.evidence.abi import Library
from card.evidence.backend import Card
from card.evidence.examine import examine
from card.evidence.floor import bench_types, floor_of
from gen.evidence import check
from gpu.fake_cuda import install
from ops.rooms import ROOT, Room, build

LIBRARY = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")
needs_emulator = pytest.mark.skipif(not LIBRARY, reason="OPSWAP_EMULATED_LIBRARY names no library; npm test builds one")
CLOCKS = {"sm": 1980.0, "memory": 2619.0}


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setattr(measure, "COPY_BYTES", 1 << 16)
    monkeypatch.setattr(measure, "MATRIX", 16)
    monkeypatch.setattr(measure, "driver_and_clocks", lambda: ("580.1", CLOCKS))


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float8_e4m3fn", "int64", "int32", "uint8", "bool"])
def test_arrays_arrive_on_the_card_as_they_are(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    array = np.arange(12).reshape(3, 4).astype(dtype)
    tensor = measure.on_card(array)
    assert str(tensor.dtype) == f"torch.{name}"
    assert tensor.float().tolist() == array.astype(np.float32).tolist()
    assert measure.on_card(array[:0]).shape == (0, 4)


@needs_emulator
def test_a_case_is_timed_against_torch() -> None:
    room = Room(ROOT / "kernels/rms_norm")
    types, _ = bench_types(room.spec)
    values = build(room, {"T": 2, "H": 64}, types)
    bench = measure.Bench(Library(Path(LIBRARY)), room, 0)
    row = bench.time(values, floor_of(room.spec, values))
    assert row["us"] > 0 and row["us_range"][0] <= row["us"] <= row["us_range"][1]
    assert set(row["baselines"]) == {"torch"}
    assert row["share_of_copy"] > 0 and row["share_of_matrix"] > 0
    assert (row["clocks_mhz"], bench.card["driver"]) == (CLOCKS, "580.1")


@needs_emulator
def test_the_timed_call_writes_the_right_result() -> None:
    room = Room(ROOT / "kernels/rms_norm")
    values = build(room, {"T": 2, "H": 64}, {"scalar": "float32"})
    on_card = {k: measure.on_card(v) if isinstance(v, np.ndarray) else v for k, v in values.items()}
    measure.Bench(Library(Path(LIBRARY)), room, 0)._ours(on_card)()
    expected = torch.from_numpy(room.module.ref(**values)["out"])
    torch.testing.assert_close(on_card["out"].double(), expected, rtol=1e-5, atol=1e-5)


@needs_emulator
def test_a_card_gets_whole_buffers_and_gives_them_back() -> None:
    room = Room(ROOT / "kernels/rms_norm")
    case = {"T": 6, "H": 96, "strided": ["out", "input"]}
    row = examine(Library(Path(LIBRARY)), Card(), room, case, {"scalar": "bfloat16"}, 5)
    assert (row["passed"], row["problem"]) == (True, None)
    assert Card().describe() == {"model": "H100", "name": "NVIDIA H100 fake", "architecture": "sm_90", "sms": 132}


@needs_emulator
def test_a_worker_on_a_card_says_all_that_evidence_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(ROOT / "kernels/rms_norm")
    monkeypatch.setitem(room.spec, "bench", [{"T": 1, "H": 64}, {"T": 2, "H": 64}])
    monkeypatch.setitem(room.spec, "cases", [{"T": 3, "H": 64}])
    said = tmp_path / "said.jsonl"
    for mode in ("check", "time"):
        assert worker.main(["rms_norm", LIBRARY, "cuda", "3", str(said), mode, "60", "0"]) == 0
    outcome = report.read_outcome("rms_norm", said, "")
    assert (len(outcome.passed), outcome.sound) == (3, True)
    assert [row["case"]["T"] for row in outcome.timings] == [2, 1], "large cases come first"
    data = report.evidence(outcome, "cuda", "0" * 40, "0" * 64)
    check(json.loads(report.readable(data)), tmp_path / "H100/rms_norm.json", {"H100"})
    assert data["clocks_mhz"] == {"sm": [1980.0], "memory": [2619.0]}


@needs_emulator
def test_timing_ends_when_its_time_is_over(tmp_path: Path) -> None:
    said = tmp_path / "said.jsonl"
    worker.main(["rms_norm", LIBRARY, "cuda", "3", str(said), "time", "0", "0"])
    assert report.read_outcome("rms_norm", said, "").timings == []
