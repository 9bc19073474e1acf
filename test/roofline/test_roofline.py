"""The floor, occupancy and traffic behind the roofline table, on cases that a hand can count; and a quick run of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from card.evidence.floor import Floor, bench_types, floor_of, formula, shapes
from ops.rooms import ROOT, Room, build, kernel_rooms
from roofline.__main__ import DEVICES, least_us, table, waves
from roofline.count import traffic, zeros
from roofline.occupancy import compiled, occupancy

LIBRARY = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")


def room(name: str) -> Room:
    return Room(ROOT / "kernels" / name)


def floor_of_case(name: str, case: dict) -> Floor:
    found = room(name)
    types = bench_types(found.spec)[0]
    exact = floor_of(found.spec, build(found, case, types))
    assert floor_of(found.spec, shapes(found, case, types)) == exact
    return exact


def test_bytes_are_of_each_tensor_once_and_of_an_updated_one_twice() -> None:
    assert floor_of_case("rms_norm", {"T": 3, "H": 576}) == Floor((2 * 3 * 576 + 576) * 2, 4 * 3 * 576)
    assert floor_of_case("fused_add_rms_norm", {"T": 3, "H": 64}).bytes == (4 * 3 * 64 + 64) * 2


def test_of_a_cache_only_the_touched_part_counts() -> None:
    case = {"T": 4, "S": 4, "KH": 2, "D": 8, "V": 8, "NB": 100, "BS": 16}  # the third token is skipped
    assert floor_of_case("reshape_and_cache", case).bytes == 4 * (3 * 2 * 8) * 2 + 4 * 4


def test_rows_that_are_named_twice_are_read_once_and_those_left_out_never() -> None:
    spec, case = room("select").spec, {"M": 5, "N": 1000, "D": 16}
    values = shapes(room("select"), case, bench_types(spec)[0])
    values["index"][:] = [7, 7, -1, 3, 7]
    assert floor_of(spec, values).bytes == 5 * 16 * 2 + 2 * 16 * 2 + 5 * 4


def test_zeros_keep_the_indices() -> None:
    values = shapes(room("select"), {"M": 5, "N": 99, "D": 16}, bench_types(room("select").spec)[0])
    blank = zeros(values)
    assert blank["index"] is values["index"]
    assert blank["input"].shape == (99, 16)
    assert blank["input"].flags.c_contiguous
    assert not blank["input"].astype(np.float32).any()


def test_a_formula_is_arithmetic_and_nothing_else() -> None:
    assert formula("2*T+(H/2)", {"T": 3, "H": 8}) == 10
    with pytest.raises(ValueError, match="needs numbers"):
        formula("__import__('os')", {})


def test_least_time_is_the_longer_of_both() -> None:
    device = {"bandwidth_gbps": 1000, "tflops": {"bfloat16": 100, "float32": 10}}
    assert least_us(Floor(10**6, 0), device, "bfloat16") == pytest.approx(1.0)
    assert least_us(Floor(10**6, 2 * 10**8), device, "bfloat16") == pytest.approx(2.0)
    assert least_us(Floor(10**6, 2 * 10**8), device, "int32") == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("registers", "shared", "threads", "blocks", "limit"),
    [
        (32, 0, 1024, 2, "threads"),
        (33, 0, 1024, 1, "registers"),
        (168, 200 * 1024, 384, 1, "registers"),
        (128, 100 * 1024, 128, 2, "shared memory"),
        (16, 0, 32, 32, "blocks"),
        (255, 0, 32, 8, "registers"),
    ],
)
def test_occupancy_is_that_of_the_architecture(
    registers: int, shared: int, threads: int, blocks: int, limit: str
) -> None:
    found = occupancy(registers, shared, threads)
    assert (found.blocks, found.limit) == (blocks, limit)


def launch(**counters: int) -> dict:
    return {"kernel": "rms_norm_kernel", "grid": [264, 1, 1], "block": [512, 1, 1], "smem": 0, "counters": counters}


def test_traffic_is_sectors_over_the_least() -> None:
    launches = [launch(load_sectors=6, distinct_load_sectors=2, store_sectors=2, distinct_store_sectors=2)]
    found = traffic(launches, 128)
    assert (found["traffic"], found["asked"], found["useful_rows"]) == (1.0, 2.0, None)


def test_waves_are_of_the_compiled_kernel() -> None:
    row = compiled("rms_norm", "bfloat16", "rms_norm_kernel")
    assert row is not None
    held = occupancy(row["registers"], row["shared"], 512)
    found, limit = waves("rms_norm", "bfloat16", [launch()]) or ({}, "")
    assert limit == held.limit
    assert found["H100"] == pytest.approx(264 / (132 * held.blocks))
    assert found["H20"] == pytest.approx(264 / (78 * held.blocks))
    assert compiled("rms_norm", "bfloat16", "no_such_kernel") is None


def test_every_case_of_every_op_with_kernels_has_a_floor(tmp_path: Path) -> None:
    rows = run("--quick", "--json", str(tmp_path / "rows.json"))
    kernels = {room.name for room in kernel_rooms()}
    cases = {name: len(room(name).spec.get("bench", [])) for name in kernels}
    assert {name: sum(row["op"] == name for row in rows) for name in kernels} == cases
    assert all(row["bytes"] > 0 and all(row["least_us"][name] > 0 for name in DEVICES) for row in rows)
    assert np.isfinite([us for row in rows for us in row["least_us"].values()]).all()
    assert table(rows).count("\n") == len(rows) + 2


@pytest.mark.skipif(not LIBRARY, reason="OPSWAP_EMULATED_LIBRARY names no library; npm test builds one")
def test_what_the_emulator_ran_is_in_the_row(tmp_path: Path) -> None:
    rows = run("rms_norm", "--quick", "--json", str(tmp_path / "rows.json"), "--library", LIBRARY)
    counted = [row for row in rows if "not_counted" not in row]
    assert counted, rows[0].get("not_counted")
    assert all(row["launches"] == 1 and row["traffic"] >= 1 and row["asked"] >= row["traffic"] for row in counted)
    assert all(set(row["waves"]) == set(DEVICES) for row in counted)


def run(*args: str) -> list[dict]:
    paths = os.pathsep.join(str(ROOT / p) for p in ("test", "native"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([paths, os.environ.get("PYTHONPATH", "")])}
    ran = subprocess.run(
        [sys.executable, "-m", "roofline", *args], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "nothing is measured" in ran.stdout
    return json.loads(Path(args[args.index("--json") + 1]).read_text())
