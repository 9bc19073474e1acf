"""Every room x every implementation x every case x every dtype against ref.py in float64."""

from __future__ import annotations

import numpy as np
import opswap
import pytest
from rooms import Room, all_cases, assert_close, build, check, rooms


def implementations(op: str) -> list[str]:
    """Those that take host memory."""
    return [i["name"] for i in opswap.why(op)["impls"] if not i["external"] and i.get("isa") != "sm_90a"]


@pytest.mark.parametrize(("room", "case", "types"), all_cases(rooms()))
def test_matches_reference(room: Room, case: dict, types: dict[str, str]) -> None:
    for impl in implementations(room.name):
        check(room, case, types, impl)


def test_codes_may_differ_by_a_step_only_rarely() -> None:
    codes = np.arange(1, 101, dtype=np.float32)
    tolerance = {"float32": {"atol": 1, "rtol": 0, "equal_ratio": 0.97}}
    assert_close("three", np.where(codes <= 3, codes + 1, codes), codes, tolerance)
    with pytest.raises(AssertionError, match=r"4 of 100 elements differ, 0\.97 of them"):
        assert_close("four", np.where(codes <= 4, codes + 1, codes), codes, tolerance)


def test_an_empty_tensor_may_have_any_stride() -> None:
    nothing = np.zeros((0, 8), np.float32)
    nothing = np.lib.stride_tricks.as_strided(nothing, (0, 8), (0, 0))  # what numpy makes of some empty results
    opswap.call("rms_norm", nothing, nothing.copy(), np.ones(8, np.float32), 1e-6)


def test_every_room_has_ref_and_a_fast_implementation() -> None:
    for room in rooms():
        names = set(implementations(room.name))
        assert "ref" in names and names & {"cpu", "composed"}, f"{room.name} has {sorted(names)}"


def test_every_instruction_set_of_this_machine_is_tried() -> None:
    names = implementations("rms_norm")
    levels = {"portable": 0, "avx2": 1, "avx512": 2}
    assert len([n for n in names if n.startswith("cpu")]) == levels[opswap.version()["cpu_isa"]] + 1


@pytest.mark.parametrize("room", rooms(), ids=lambda r: r.name)
def test_an_error_in_the_result_is_found(room: Room) -> None:
    """The comparison itself can fail: a wrong reference is noticed in every room."""
    case = next(c for c in room.spec["cases"] if all(v for k, v in c.items() if k.isupper()) and c.get("lens", True))
    values = build(room, case, room.type_choices()[0])
    expected = room.module.ref(**values)
    name, wrong = next((k, v) for k, v in expected.items() if v.size)
    with pytest.raises(AssertionError, match="elements differ"):
        assert_close(name, (wrong + 1).astype("float32"), wrong, room.spec["tolerance"])
    with pytest.raises(AssertionError, match="elements differ"):
        assert_close(name, (wrong * float("nan")).astype("float32"), wrong, room.spec["tolerance"])
