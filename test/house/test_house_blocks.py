"""`blocks` of op.json: which tensors a call reaches through an index alone, and what cannot be said there."""

from __future__ import annotations

import json

import pytest
from gen.cpp import tables
from gen.spec import Op, SpecError, check_op, collect_dims, dtype_table
from house.rules import ROOT

ROOM = ROOT / "kernels/reshape_and_cache/op.json"
SLOTS = "slot_mapping / BS"


def op(**changed: object) -> Op:
    """The declaration of an op that is there, with other entries."""
    declared = Op({**json.loads(ROOM.read_text("utf-8")), **changed}, ROOM)
    check_op(declared, set(dtype_table(ROOT)))
    declared.dims = collect_dims(declared)
    return declared


def test_index_and_slots_reach_the_library() -> None:
    (args,) = (line for line in tables(op()) if "_args[]" in line)
    assert '{"key", false, false, false, -1, -1}' in args
    assert '{"key_cache", true, true, false, 4, 2}, {"value_cache", true, true, false, 4, 2}' in args


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ({"key_cache": "slot_mapping * BS"}, "needs 'index' or 'index / SYMBOL'"),
        ({"cache": SLOTS}, "one of them is no tensor"),
        ({"key_cache": SLOTS, "value_cache": "9"}, "blocks of value_cache is '9'"),
        ({"key_cache": "slots / BS"}, "one of them is no tensor"),
        ({"key_cache": "key / BS"}, "key needs to be integers of at most two dimensions"),
        ({"key_cache": "slot_mapping / T"}, "key_cache has no dimension T"),
        ({"key_cache": SLOTS}, r"\['value_cache'\] must be cut as key_cache is"),
        ({"key_cache": SLOTS, "value_cache": "slot_mapping"}, r"\['value_cache'\] must be cut as key_cache is"),
        ({"key": "slot_mapping"}, r"\['value'\] must be cut as key is"),
    ],
)
def test_what_cannot_be_cut_is_refused(blocks: dict[str, str], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        op(blocks=blocks)


def test_a_requirement_on_the_number_of_entries_is_refused() -> None:
    with pytest.raises(SpecError, match="a requirement names NB"):
        op(require=["S <= T", "NB > 1"])
