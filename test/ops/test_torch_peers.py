"""Each room's peer.py: its pair agrees with the op, its baseline with the reference, and absent wheels are named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from card.evidence.baselines import baselines, missing
from card.evidence.floor import bench_types
from ops.rooms import Room, build, rooms
from ops.torch_values import to_torch
from opswap import torch_ops

torch_ops.register()
WITH_PAIR = [room for room in rooms() if hasattr(room.peer, "cpu_pair")]
WITH_BASELINES = [room for room in rooms() if hasattr(room.peer, "GPU_BASELINES")]
WHEEL = """
from common.peer import Baseline

def _refuses(values):
    raise ValueError("these shapes are not for it")

GPU_BASELINES = [
    Baseline(lambda v: lambda: v["x"] + 1),
    Baseline(lambda v: lambda: v["x"], "json", "json-wheel"),
    Baseline(_refuses, "math", "math-wheel"),
    Baseline(lambda v: lambda: v["x"], "no_such_library", "no-such-wheel==1.0"),
]
"""


def elements(values: dict[str, Any]) -> int:
    return sum(v.size for v in values.values() if isinstance(v, np.ndarray))


def is_plain(case: dict[str, Any]) -> bool:
    """Of sizes alone; where rows are of groups, of groups one behind the other that have all of them."""
    of_groups = "F" in case and case.get("sizes", []) and sum(case["sizes"]) == case["R"]
    beside = {"sizes", "none"} if of_groups and "row_indices" in case["none"] else set()
    return all(key.isupper() or key in beside for key in case)


def plain_values(room: Room) -> dict[str, Any]:
    """Arguments of the largest small case that skips no row: timing asks no baseline to leave rows as they are."""
    exact = {name: "float32" for name, dtypes in room.spec["types"].items() if "float32" in dtypes}
    types = {**bench_types(room.spec)[0], **exact}
    built = [build(room, case, types) for case in room.spec["cases"] if is_plain(case)]
    fitting = [
        values
        for values in built
        if elements(values) < 1 << 17
        and all(v.size and (v >= 0).all() for v in values.values() if isinstance(v, np.ndarray) and v.dtype.kind == "i")
    ]
    return max(fitting, key=elements)


def test_every_peer_file_is_tried() -> None:
    there = [room.name for room in rooms() if (room.path / "peer.py").exists()]
    assert there
    assert there == [room.name for room in rooms() if room in WITH_PAIR or room in WITH_BASELINES]


@torch.inference_mode()
@pytest.mark.parametrize("room", WITH_PAIR, ids=lambda room: room.name)
def test_the_pair_of_a_room_agrees_with_its_op(room: Room) -> None:
    torch.manual_seed(0)
    takes = room.spec["types"]["scalar"]
    for dtype in (d for d in (torch.float32, torch.bfloat16) if str(d).removeprefix("torch.") in takes):
        pair = room.peer.cpu_pair(room.spec["bench"][0], dtype)
        pair.ours()
        assert pair.theirs() is not None
        pair.check()
        assert pair.bytes > 0


@pytest.mark.parametrize("room", WITH_BASELINES, ids=lambda room: room.name)
def test_the_baseline_of_a_room_does_the_work_of_its_reference(room: Room) -> None:
    values = plain_values(room)
    expected = room.module.ref(**{k: v.copy() if isinstance(v, np.ndarray) else v for k, v in values.items()})
    placed = {k: to_torch(v) for k, v in values.items()}
    result = baselines(room, placed)["torch"]()
    first = next(arg["name"] for arg in room.args if arg.get("writes"))
    got = {first: result} if result is not None else {name: placed[name] for name in expected}
    for name, value in got.items():
        wanted = torch.from_numpy(np.asarray(expected[name], np.float64))
        rounding = max(1e-4, torch.finfo(value.dtype).eps)
        torch.testing.assert_close(value.double(), wanted, rtol=rounding, atol=rounding)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    (tmp_path / "peer.py").write_text(WHEEL)
    return Room(tmp_path)


def test_absent_baselines_are_named_with_their_wheels(room: Room) -> None:
    assert missing([room]) == [
        "baseline no-such-wheel==1.0: not here (ModuleNotFoundError: No module named 'no_such_library')"
    ]


def test_the_tree_says_which_wheels_may_be_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashinfer", None)
    assert [line.split()[1] for line in missing()] == ["flashinfer-python:"]


def test_a_library_that_is_absent_or_refuses_is_left_out(room: Room) -> None:
    found = baselines(room, {"x": 1})
    assert {name: run() for name, run in found.items()} == {"torch": 2, "json-wheel": 1}


def test_a_room_without_a_peer_has_no_baseline(tmp_path: Path) -> None:
    assert Room(tmp_path).peer is None
    assert baselines(Room(tmp_path), {}) == {}
