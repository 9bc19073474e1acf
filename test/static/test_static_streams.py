"""The library with a played CUDA runtime (played_cudart.cpp): what its host side calls, and the order of streams."""

from __future__ import annotations

import numpy as np
import opswap
import pytest
from card.evidence.abi import CPU, CUDA, LibraryError, Memory
from static.played import CALL, DONE, READY, SIDE, Played, link

STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)

BAD = 0xBAD  # a handle that the played runtime refuses


def memory(array: np.ndarray, kind: int = CUDA) -> Memory:
    shape = (1, 1, 1, array.size)
    return Memory(array.ctypes.data, "float32", shape, (array.size, array.size, array.size, 1), kind)


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return Played(link(tmp_path_factory.mktemp("played")))


@pytest.fixture
def played(linked: Played) -> Played:
    linked.reset()
    return linked


def produced() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is produced on the call's stream, the device memory that it goes to, and where the side stream takes it."""
    return np.arange(8, dtype=np.float32), np.zeros(8, np.float32), np.full(8, np.nan, np.float32)


def test_nothing_else_of_cuda_is_called(played: Played) -> None:
    """All rooms link, with no undefined name, against a runtime that has nothing that waits or allocates."""
    assert played.library.device_status.startswith("cuda: device 0 is played (sm_90")


#: Enough rows that every block has some; what a kernel would read is not read.
X, OUT, CODES = (np.empty((100_000, 64), dtype) for dtype in (np.float32, np.float32, np.uint8))
WEIGHT, SCALE = np.ones(64, np.float32), np.empty((100_000, 1), np.float32)
ROW_OPS = {
    "rms_norm": [OUT, X, WEIGHT, 1e-6],
    "layer_norm": [OUT, X, WEIGHT, None, 1e-6],
    "fused_add_rms_norm": [X, OUT, WEIGHT, 1e-6],
    "rms_norm_quant_fp8": [CODES, SCALE, X, WEIGHT, 1e-6, 128, False, False],
    "silu": [OUT, X],
    "silu_and_mul": [OUT[:, :32].copy(), X],
    "quantize_fp8": [CODES, SCALE, X, 1, 128, False, False, 1e-4],
}


@pytest.mark.parametrize("op", ROW_OPS)
def test_grids_are_sized_for_the_sms_of_the_device(played: Played, op: str) -> None:
    """With a budget of SMs, for as many: those of an H100 among them."""
    blocks = {budget: played.blocks(op, ROW_OPS[op], budget) for budget in (0, 1, 7, 132)}
    assert blocks == {0: played.sms * blocks[1], 1: blocks[1], 7: 7 * blocks[1], 132: 132 * blocks[1]}
    assert played.sms == 78 and blocks[1] > 0


def test_the_copy_sees_what_the_call_stream_was_given_before(played: Played) -> None:
    values, device, out = produced()
    played.copy(memory(device), memory(values, CPU))
    played.copy_async(memory(out, CPU), memory(device))
    assert np.isnan(out).all(), "a call waits for nothing"
    played.run(SIDE)
    np.testing.assert_array_equal(out, values)


def test_without_a_ready_event_it_waits_for_nothing(played: Played) -> None:
    values, device, out = produced()
    played.copy(memory(device), memory(values, CPU))
    played.copy_async(memory(out, CPU), memory(device), ready=0)
    played.run(SIDE)
    np.testing.assert_array_equal(out, np.zeros(8))


def test_who_waits_for_done_sees_the_copy(played: Played) -> None:
    values, device, out = produced()
    consumed = np.full(8, np.nan, np.float32)
    played.copy_async(memory(device), memory(values, CPU))
    played.wait(CALL, DONE)
    played.copy(memory(consumed, CPU), memory(device))
    played.run(CALL)
    np.testing.assert_array_equal(consumed, values)
    assert np.isnan(out).all()


def test_a_kernel_runs_between_the_events_on_its_own_stream(played: Played) -> None:
    values, device, _ = produced()
    played.copy_async(memory(device), memory(values))
    played.run(SIDE)
    expected = [
        f"{SIDE} waits for {READY}",
        f"record {READY} on {CALL}",
        f"kernel on {SIDE}",
        f"record {DONE} on {SIDE}",
    ]
    assert played.done == expected


def test_without_handles_it_is_a_copy_on_the_stream_of_the_call(played: Played) -> None:
    values, device, _ = produced()
    played.copy_async(memory(device), memory(values), stream=0, ready=0, done=0)
    played.run(CALL)
    assert played.done == [f"kernel on {CALL}"]


def test_a_capture_takes_in_the_side_stream_by_its_event(played: Played) -> None:
    values, device, _ = produced()
    played.capture(CALL)
    with pytest.raises(
        LibraryError, match=rf"OPSWAP_E_ARGUMENT: .*stream {CALL:#x} is being captured and stream {SIDE:#x}"
    ):
        played.copy_async(memory(device), memory(values), ready=0)
    played.copy_async(memory(device), memory(values))
    played.copy_async(memory(device), memory(values), ready=0)
    played.run(SIDE)
    assert sum(line.startswith("kernel") for line in played.done) == 2


@pytest.mark.parametrize("name", ["stream", "ready", "done"])
def test_a_handle_that_cuda_refuses_is_an_error_that_names_it(played: Played, name: str) -> None:
    values, device, _ = produced()
    with pytest.raises(LibraryError, match=r"OPSWAP_E_LAUNCH: .*0xbad.*cudaErrorInvalidResourceHandle"):
        played.copy_async(memory(device), memory(values), **{name: BAD})


def norm(played: Played, rows: int) -> None:
    x, weight = np.ones((rows, 64), np.float32), np.ones(64, np.float32)
    played.norm(np.zeros_like(x), x, weight, 0)


def test_calls_are_timed_on_the_device_without_waiting(played: Played) -> None:
    """A time counts when the device has come to its end, and is the device's, by shape."""
    played.forget_times()
    for ms, rows in ((2.0, 8), (6.0, 64)):
        played.kernels_take(ms)
        norm(played, rows)
        assert played.times("rms_norm")["timed"] == (0 if rows == 8 else 1), "no call waits for its own time"
        played.run(CALL)
    found = played.times("rms_norm")
    assert (found["calls"], found["timed"]) == (2, 2)
    assert {b["bucket"]: round(b["mean_ns"] / 1e6, 2) for b in found["buckets"]} == {
        "T8 H64 float32": 2.0,
        "T64 H64 float32": 6.0,
    }


def test_a_call_reads_the_times_of_those_before(played: Played) -> None:
    """So that events come back without anybody who asks for counters; while none is free, calls are not timed."""
    played.forget_times()
    played.kernels_take(1.0)
    for _ in range(100):
        norm(played, 8)
    made = played.made
    assert played.times("rms_norm")["timed"] == 0 and made <= 200
    played.run(CALL)
    for _ in range(100):
        norm(played, 8)
        played.run(CALL)
    found = played.times("rms_norm")
    assert (found["calls"], found["timed"]) == (200, 164)  # 64 pairs of events
    assert played.made == made and round(found["mean_ns"] / 1e6, 2) == 1.0


def test_a_call_under_capture_is_not_timed_and_nothing_ends_the_capture(played: Played) -> None:
    played.forget_times()
    norm(played, 8)
    played.capture(CALL)
    norm(played, 8)
    other = played.times("rms_norm")
    played.run(CALL)
    assert (other["calls"], other["timed"]) == (2, 0)
    assert played.times("rms_norm")["timed"] == 1
    assert played.unsafe == 0
