"""Shadows and recordings of device tensors on the played CUDA runtime: in the stream's order, and nobody waits."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import opswap
import pytest
from card.evidence.abi import LibraryError
from static.played import CALL, Played, link
from static.watched import REFUSED, Watched, Work, comes

STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)

ROWS, WIDTH = 3, 40
EPSILON = 1e-6


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return Played(link(tmp_path_factory.mktemp("watched")))


@pytest.fixture
def played(linked: Played) -> Played:
    linked.reset()
    linked.kernels_take(0)
    assert comes(lambda: linked.held == 0), "what the test before had is given back by another thread"
    return linked


def writes(values: np.ndarray) -> Work:
    """An implementation whose first tensor becomes `values`."""

    def work(op: Watched, tensors: list[int], stream: int) -> int:
        op.give(stream, tensors[0], values)
        return 0

    return work


def refuses(op: Watched, tensors: list[int], stream: int) -> int:
    return op.lib.opswap_set_error(REFUSED, b"it was told to fail")


class Shadowed(Watched):
    """An op whose live calls are made one by one."""

    def live(self) -> None:
        raise NotImplementedError

    @property
    def chosen(self) -> int:
        return sum(bucket["chosen"] for bucket in self.status()["buckets"])

    def takes(self) -> bool:
        """Calls until one is shadowed: the first find no memory, and a record comes before its memory is free."""
        before = self.chosen

        def tries() -> bool:
            self.live()
            return self.chosen > before

        return comes(tries)

    def sampled(self) -> bool:
        """Whether another call, whose stream is run, has its record."""
        before = len(self.records)
        assert self.takes()
        self.played.run(CALL)
        return comes(lambda: len(self.records) > before)


class Norm(Shadowed):
    """rms_norm under a shadow of `candidate`; control writes ones."""

    def __init__(self, played: Played, candidate: Work, memory: int = 1 << 20) -> None:
        super().__init__(played, "rms_norm")
        self.out, self.input = np.zeros((ROWS, WIDTH), np.float32), np.ones((ROWS, WIDTH), np.float32)
        self.weight = np.ones(WIDTH, np.float32)
        self.register("control", writes(np.ones((ROWS, WIDTH), np.float32)))
        self.register("candidate", candidate)
        self.shadow("control", "candidate", memory)

    def live(self) -> None:
        self.call([self.out, self.input, self.weight], [EPSILON])


ONES = np.ones((ROWS, WIDTH), np.float32)


def test_arms_are_compared_when_the_device_has_come_to_their_end(played: Played) -> None:
    wrong = ONES.copy()
    wrong[2, 39] = 1.5
    op = Norm(played, writes(wrong))
    assert op.takes()
    time.sleep(0.05)
    assert op.records == [] and not op.out.any(), "nothing has run yet, so nothing is compared"
    played.run(CALL)
    assert comes(lambda: len(op.records) == 1)
    np.testing.assert_array_equal(op.out, ONES)
    (record,) = op.records
    assert (record.elements, record.differing, record.outside, record.max_abs) == (ROWS * WIDTH, 1, 1, 0.5)
    assert (record.control_status, record.candidate_status, record.candidate_overran) == (0, 0, 0)
    assert (record.floor_known, record.floor_differing) == (1, 0)
    assert played.allocated_by_player == 0
    op.stop()
    assert comes(lambda: played.held == 0)


def test_the_first_call_waits_for_no_memory(played: Played) -> None:
    op = Norm(played, writes(ONES))
    op.live()
    assert op.left_out() == {"busy": 1} and played.allocated_by_player == 0
    assert comes(lambda: played.held > 0)
    op.stop()


def test_a_call_waits_for_no_comparison_and_one_is_under_way_at_a_time(played: Played) -> None:
    op = Norm(played, writes(ONES))
    assert op.takes()
    before = op.left_out()["busy"]
    for _ in range(3):
        op.live()
    assert (op.left_out(), op.records) == ({"busy": before + 3}, [])
    played.run(CALL)
    assert comes(lambda: len(op.records) == 1)
    assert op.sampled()
    op.stop()


def test_a_call_under_capture_is_left_out_and_counted_apart(played: Played) -> None:
    op = Norm(played, writes(ONES))
    assert op.sampled()
    played.capture(CALL)
    for _ in range(2):
        op.live()
    assert op.left_out()["capture"] == 2
    assert (len(op.records), played.unsafe, played.allocated_by_player) == (1, 0, 0)
    op.stop()


def test_arms_are_timed_on_the_device(played: Played) -> None:
    op = Norm(played, writes(ONES))
    played.kernels_take(2.0)
    assert op.sampled()
    (record,) = op.records
    assert (round(record.control_ns / 1e6, 2), round(record.candidate_ns / 1e6, 2)) == (2.0, 2.0)
    # Two timed runs, one of control for the floor, and one before them where the candidate comes first.
    runs = 4 if record.candidate_first else 3
    assert op.status()["took_ns"] >= runs * 1.99e6
    op.stop()


@pytest.mark.parametrize("past", [0, 60])
def test_a_candidate_that_writes_past_its_output_is_found_and_ended(played: Played, past: int) -> None:
    """The guard is 64 bytes; what is live is not touched."""

    def overruns(op: Watched, tensors: list[int], stream: int) -> int:
        op.give(stream, tensors[0], ONES)
        op.give(stream, tensors[0] + ONES.nbytes + past, np.zeros(1, np.float32))
        return 0

    op = Norm(played, overruns)
    assert op.sampled()
    assert op.records[0].candidate_overran == 1
    assert comes(lambda: not op.status()["running"])
    assert op.status()["ended_by"] == "the candidate wrote outside its outputs"
    assert comes(lambda: played.held == 0)


def test_a_candidate_that_fails_is_ended_with_what_it_said(played: Played) -> None:
    op = Norm(played, refuses)
    assert op.sampled()
    assert (op.records[0].control_status, op.records[0].candidate_status) == (0, REFUSED)
    assert op.status()["ended_by"] == "the candidate failed: it was told to fail"
    np.testing.assert_array_equal(op.out, ONES)


def test_a_live_call_that_fails_gives_the_memory_free(played: Played) -> None:
    op = Norm(played, writes(ONES))
    op.register("refuses", refuses)
    with pytest.raises(LibraryError, match="it was told to fail"):
        op.call([op.out, op.input, op.weight], [EPSILON], "refuses")
    played.run(CALL)
    assert op.sampled()
    op.stop()


def test_memory_is_bounded_and_what_cannot_be_had_is_counted(played: Played) -> None:
    op = Norm(played, writes(ONES), memory=2000)
    op.live()
    assert op.left_out() == {"memory": 1} and played.held == 0
    op.stop()
    played.refuse_memory(True)
    op.shadow("control", "candidate")
    op.live()
    assert comes(lambda: op.live() or op.left_out().get("memory", 0) > 0)
    assert played.held == 0
    played.refuse_memory(False)
    op.stop()


def test_memory_grows_between_calls_and_goes_back_when_a_call_under_way_has_ended(played: Played) -> None:
    op = Norm(played, writes(ONES))
    assert op.sampled()
    small, wide = played.held, np.ones((64, WIDTH), np.float32)

    def grows() -> bool:
        op.call([np.zeros_like(wide), wide, op.weight], [EPSILON])
        return played.held > small

    assert comes(grows)
    played.run(CALL)
    assert op.takes()
    before = len(op.records)
    op.stop()
    time.sleep(0.02)
    assert played.held > small, "a call is under way"
    played.run(CALL)
    assert comes(lambda: played.held == 0)
    assert len(op.records) == before + 1


class Cache(Shadowed):
    """reshape_and_cache, whose caches are updated, under a shadow; both arms add to what was there."""

    def __init__(self, played: Played, wrong_at: int) -> None:
        super().__init__(played, "reshape_and_cache")
        self.key = np.arange(16, dtype=np.float32).reshape(2, 1, 8)
        self.caches = [np.full((3, 1, 4, 8), 7, np.float32) for _ in range(2)]
        self.slots = np.array([5, 2], np.int64)
        self.seen: list[np.ndarray] = []
        self.register("control", self.arm(-1))
        self.register("candidate", self.arm(wrong_at))

    def arm(self, wrong_at: int) -> Work:
        def work(op: Watched, tensors: list[int], stream: int) -> int:
            for cache in tensors[2:4]:
                for row, slot in enumerate(self.slots):
                    op.give(stream, cache + int(slot) * 32, self.key[row, 0])
            if wrong_at >= 0:
                op.give(stream, tensors[2] + wrong_at * 4, np.full(1, -1, np.float32))
            return 0

        return work

    def live(self) -> None:
        self.call([self.key, self.key, *self.caches, self.slots], [])

    @property
    def chosen_to_record(self) -> int:
        return sum(bucket["chosen"] for bucket in self.status("record")["buckets"])


@pytest.mark.parametrize("wrong_at", [-1, 0, 95])
def test_a_cache_on_a_device_is_kept_whole(played: Played, wrong_at: int) -> None:
    """What an index on a device names is not known: the arms update copies of all of it, from before the live call."""
    op = Cache(played, wrong_at)
    op.shadow("control", "candidate")
    assert op.sampled()
    (record,) = op.records
    assert (record.elements, record.differing) == (2 * 96, int(wrong_at >= 0))
    assert record.max_abs == (8 if wrong_at >= 0 else 0), "against the 7 that was there"
    assert (record.floor_known, record.floor_differing) == (1, 0)
    op.stop()


def test_a_recording_is_what_was_on_the_device_before_the_call(played: Played, tmp_path: Path) -> None:
    """The file is that of a call on the CPU: its cache is cut to the blocks that the copied index names."""
    op = Cache(played, -1)
    tmp_path.chmod(0o700)
    op.record(tmp_path)
    op.live()
    assert played.allocated_by_player == 0
    assert comes(lambda: (op.live(), op.chosen_to_record > 0)[1])
    time.sleep(0.02)
    assert not list(tmp_path.iterdir()), "nothing has been copied yet"
    played.run(CALL)
    assert comes(lambda: len(list(tmp_path.glob("*.safetensors"))) == 1)
    (file,) = tmp_path.glob("*.safetensors")
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]

    def tensor(name: str, dtype: type) -> np.ndarray:
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(body[begin:end], dtype).reshape(header[name]["shape"])

    entries = {a["name"]: a.get("entries") for a in json.loads(header["__metadata__"]["args"])}
    assert entries["key_cache"] == [0, 1]
    np.testing.assert_array_equal(tensor("slot_mapping", np.int64), op.slots)
    np.testing.assert_array_equal(tensor("key", np.float32), op.key)
    assert tensor("key_cache", np.float32).shape == (2, 1, 4, 8)
    op.stop_recording()
    assert comes(lambda: played.held == 0)


def test_a_recording_under_capture_is_left_out(played: Played, tmp_path: Path) -> None:
    op = Cache(played, -1)
    tmp_path.chmod(0o700)
    op.record(tmp_path)
    played.capture(CALL)
    op.live()
    assert op.left_out("record") == {"capture": 1} and played.unsafe == 0
    op.stop_recording()
