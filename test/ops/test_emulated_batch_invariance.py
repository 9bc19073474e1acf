"""`batch_invariant` of every op that has it, on the emulated kernels: whole batches, parts of them, single rows."""

from __future__ import annotations

import pytest
from rooms import Room, build
from test_batch_invariance import assert_rows_keep_their_bits, caller, promising
from test_emulated import SANITIZED, on_device, refusal

pytestmark = pytest.mark.skipif(SANITIZED is not None, reason="its batches are too large under a sanitizer")


@pytest.mark.parametrize(("room", "case", "types"), promising())
def test_a_row_has_the_same_bits_in_every_batch(
    room: Room, case: dict, types: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := refusal(room, case, build(room, case, types)):
        pytest.skip(reason)
    monkeypatch.setenv("OPSWAP_EMULATE_SEED", "0")
    assert_rows_keep_their_bits(room, case, types, caller("sm90", on_device))
