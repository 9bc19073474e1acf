"""Wheels that are not those whose figures are committed, loops that are not there, and the committed figures."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sass import occupied, peers, wheels
from sass.compiled import CompiledKernel
from sass.machine_code import Instruction
from sass.wheels import BadWheel, Wheel, checked, headers, library


def wheel(folder: Path, members: dict[str, bytes], file: str = "peer-1.0.0-py3-none-any.whl") -> Wheel:
    with zipfile.ZipFile(folder / file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return Wheel("peer==1.0.0", file, hashlib.sha256((folder / file).read_bytes()).hexdigest())


def test_a_wheel_of_another_digest_is_refused_before_it_is_read(tmp_path: Path) -> None:
    known = wheel(tmp_path, {"peer/a.so": b"one"})
    assert checked(known, tmp_path) == tmp_path / known.file
    wheel(tmp_path, {"peer/a.so": b"two"})
    with pytest.raises(BadWheel, match=rf"needs sha256 {known.sha256}, came [0-9a-f]{{64}}; nothing of it was read"):
        checked(known, tmp_path)


def test_a_wheel_of_another_version_is_named(tmp_path: Path) -> None:
    known = wheel(tmp_path, {})
    (tmp_path / known.file).rename(tmp_path / "peer-1.0.1-py3-none-any.whl")
    with pytest.raises(BadWheel, match=r"are of peer-1\.0\.0-.* has peer-1\.0\.1-.*another version"):
        checked(known, tmp_path)


def test_what_is_taken_out_is_bounded_and_stays_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = wheel(tmp_path, {"peer/a.so": b"12345678", "peer/include/a.h": b"1234", "peer/include/../../../b.h": b"12"})
    path, into = tmp_path / known.file, tmp_path / "in" / "here"
    assert library(path, "peer/a.so", into).read_bytes() == b"12345678"
    headers(path, "peer/include", into)
    assert sorted(p.name for p in into.rglob("*.h")) == ["a.h", "b.h"]
    assert list(tmp_path.rglob("*.h")) == list(into.rglob("*.h"))
    with pytest.raises(BadWheel, match=r"has no peer/b\.so"):
        library(path, "peer/b.so", into)
    monkeypatch.setattr(wheels, "MOST_LIBRARY", 7)
    with pytest.raises(BadWheel, match="has 8 bytes, at most 7"):
        library(path, "peer/a.so", into)
    monkeypatch.setattr(wheels, "MOST_HEADERS", 5)
    with pytest.raises(BadWheel, match="at most 1"):
        headers(path, "peer/include", into)


def kernel(*codes: tuple[str, str]) -> CompiledKernel:
    code = [Instruction(16 * n, "", name, operands, 0) for n, (name, operands) in enumerate(codes)]
    return CompiledKernel("_Z4peerv", "peer()", 168, 0, 0, 384, code)


ROW = {"name": "Peer", "kernel": r"^peer\(", "loops": [{"number": 0, "at": "0x10", "warpgroups": 2}]}
LOOP = kernel(("NOP", ""), ("HGMMA.64x128x16.F32.BF16", "R24, gdesc[UR12], R24"), ("BRA", "UP0, 0x10"), ("EXIT", ""))


def test_figures_of_a_loop_that_two_warpgroups_run() -> None:
    found = peers.figures(ROW, [LOOP])
    assert (found["registers"], found["shapes"]) == (168, [{"HGMMA.64x128x16.SS": 1}])
    assert (found["products"], found["tensor"], found["issue"]) == (2, 2 * 64, 2 * 2)


@pytest.mark.parametrize(
    ("row", "kernels", "words"),
    [
        (ROW, [], "needs one kernel that matches .* there are 0"),
        (ROW, [LOOP, LOOP], "there are 2"),
        (ROW, [kernel(("EXIT", ""))], "its kernel has no main loop"),
        (
            ROW | {"loops": [{"number": 0, "at": "0x20", "warpgroups": 2}]},
            [LOOP],
            "loop 0 at 0x20, there are 0 at 0x10",
        ),
        (
            ROW | {"loops": [{"number": 1, "at": "0x10", "warpgroups": 2}]},
            [LOOP],
            "loop 1 at 0x10, there are 0 at 0x10",
        ),
    ],
)
def test_a_loop_that_is_not_there_is_named(row: dict[str, Any], kernels: list[CompiledKernel], words: str) -> None:
    with pytest.raises(peers.UnknownLoop, match=f"^Peer: .*{words}"):
        peers.figures(row, kernels)


def test_a_row_is_equal_or_says_what_became_of_it() -> None:
    row = ROW | {"figures": peers.figures(ROW, [LOOP])}
    assert peers.differences(row, row) == []
    now = row | {"figures": row["figures"] | {"issue": 5}}
    assert peers.differences(row, now) == ["issue 4 became 5"]
    (text,) = peers.differences(row | {"nvcc": "1.2.3"}, row | {"figures": None})
    assert text == "not compared: its figures are of nvcc 1.2.3"
    table = {"wheels": {}, "rows": [row, row]}
    assert json.loads(peers.written(table, [now, row | {"figures": None}]))["rows"] == [now, row]


def test_the_latency_bound_of_a_full_sm() -> None:
    """H20: 4000 bytes a ns over 78 SMs, 700 ns; H100 and H200 over 132."""
    found = occupied.bounds(16, 2048)
    expected = {"H20": 4000 / 78, "H100": 3350 / 132, "H200": 4800 / 132}
    assert found == pytest.approx({name: 16 * 2048 / (rate * 700) for name, rate in expected.items()})


def cycles(shape: str) -> int:
    """m64nNk(32 bytes) at 8192 bytes of both operands' products a clock and SM, or what shared memory takes longer."""
    kind, columns = shape[-2:], int(shape.split("x")[1])
    return max(columns // 2, 0 if kind == "RS" else (64 * 32 + columns * 32) // 128)


def test_the_committed_figures_are_of_known_wheels_and_go_together() -> None:
    table = peers.committed()
    assert {w.project for w in (peers.wheel_of(table, name) for name in table["wheels"])} == {
        "fa3-fwd==0.0.3",
        "sgl-flash-mla==1.0.0",
        "sgl-deep-gemm==0.1.4",
    }
    assert all(len(w["sha256"]) == 64 and w["file"].endswith(".whl") for w in table["wheels"].values())
    assert len(table["rows"]) == 9
    for row in table["rows"]:
        groups = [loop["warpgroups"] for loop in row["loops"]]
        shapes, figures = row["figures"]["shapes"], row["figures"]
        of_shapes = [sum(n * cycles(shape) for shape, n in one.items()) for one in shapes]
        assert figures["tensor"] == sum(w * c for w, c in zip(groups, of_shapes, strict=True)), row["name"]
        assert figures["products"] == sum(w * sum(one.values()) for w, one in zip(groups, shapes, strict=True))
        assert 0 < figures["alone"] <= figures["overlapped"] <= 1
        assert row["tile"] and row["wheel"] in table["wheels"]
