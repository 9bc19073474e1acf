"""Shadows and recordings of device tensors on the played CUDA runtime: in the stream's order, and nobody waits."""

from __future__ import annotations

import time

import numpy as np
import opswap
import pytest
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
    return linked


def writes(values: np.ndarray) -> Work:
    """An implementation whose first tensor becomes `values`."""

    def work(op: Watched, tensors: list[int], stream: int) -> int:
        op.give(stream, tensors[0], values)
        return 0

    return work


def refuses(op: Watched, tensors: list[int], stream: int) -> int:
    return op.lib.opswap_set_error(REFUSED, b"it was told to fail")


class Norm(Watched):
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

    def ready(self) -> None:
        """Its memory is there: it was made for the first call, by another thread."""
        self.live()
        self.played.run(CALL)
        assert self.left_out() == {"busy": 1}
        assert comes(lambda: self.played.held > 0)

    def sampled(self) -> bool:
        """Whether another call, whose stream is run, has its record."""
        before = len(self.records)
        self.live()
        self.played.run(CALL)
        return comes(lambda: len(self.records) > before)


ONES = np.ones((ROWS, WIDTH), np.float32)


def test_arms_are_compared_when_the_device_has_come_to_their_end(played: Played) -> None:
    wrong = ONES.copy()
    wrong[2, 39] = 1.5
    op = Norm(played, writes(wrong))
    op.ready()
    op.live()
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
