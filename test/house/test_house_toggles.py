"""Toggle classes as op.json says them: one for all implementations of an op, or one for some of them by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gen.cpp import op_row, tables
from gen.docs import op_section
from gen.spec import Op, SpecError, check_op, collect_dims
from house.rules import ROOT

ROOM = ROOT / "kernels/silu_and_mul/op.json"


def op(toggle_class: object) -> Op:
    """The declaration of an op that is there, with another toggle class."""
    declared = Op({**json.loads(ROOM.read_text("utf-8")), "toggle_class": toggle_class}, Path(ROOM))
    check_op(declared, {"float32", "bfloat16", "float16"})
    declared.dims = collect_dims(declared)
    return declared


def test_one_class_is_that_of_all_implementations() -> None:
    one = op("restart")
    assert (one.toggle_class, one.toggles) == ("restart", {})
    assert '"restart", k_silu_and_mul_toggles.data(), 0, ' in op_row(one)
    assert "toggle class `restart`." in op_section(one)


def test_classes_by_implementation_reach_library_and_page() -> None:
    mixed = op({"default": "live", "sm90": "recapture", "cpu": "live"})
    assert (mixed.toggle_class, mixed.toggles) == ("live", {"sm90": "recapture"})
    assert any('k_silu_and_mul_toggles = {{{"sm90", "recapture"}}}' in line for line in tables(mixed))
    assert "toggle class `live`, of `sm90` `recapture`." in op_section(mixed)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("sometimes", "toggle_class of default is 'sometimes', needs to be one of"),
        ({"sm90": "recapture"}, "toggle_class needs the key 'default'"),
        ({"default": "live", "sm99": "recapture"}, r"toggle_class names \['sm99'\], which a room does not have"),
        ({"default": "live", "sm90": "later"}, "toggle_class of sm90 is 'later'"),
    ],
)
def test_what_is_no_class_is_refused(said: object, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        op(said)
