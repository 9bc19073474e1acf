"""The error of FP8 products: against float64 of the same codes, with Hopper's sums and with float ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ops.rooms import Room
from roofline.cases import has_codes, product_rooms
from roofline.count import Counted
from roofline.error import MODES, difference, errors

LIBRARY = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")


def test_the_measure_of_equal_and_of_scaled_rows() -> None:
    x = np.arange(1.0, 9.0)
    assert difference(x, x) == 0
    assert difference(x, 1.1 * x) == pytest.approx(1 - 2 * 1.1 / (1 + 1.21))
    assert difference(x, -x) == 2


@pytest.mark.skipif(not LIBRARY, reason="OPSWAP_EMULATED_LIBRARY names no library; npm test builds one")
@pytest.mark.parametrize("room", list(filter(has_codes, product_rooms())), ids=lambda room: room.name)
def test_sums_of_7168_are_near_float64(room: Room) -> None:
    found = errors(room, Counted(Path(LIBRARY)))
    assert all(error < MODES[mode] for (mode, _), error in found.items()), found
    assert found["hopper", "one sign"] > found["float", "one sign"], "the mode changes nothing"
