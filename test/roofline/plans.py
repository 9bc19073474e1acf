"""What the dense planner makes of a product on a card: its tiles, their balance, and what they move."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from roofline.balance import least_payload
from roofline.cards import DEVICES, delivered
from roofline.library import compiled

STEP = 128  # bytes of K of a stage
#: Each half of Hopper's L2 keeps its own copy of what SMs of both halves read.
L2_COPIES = 2


@dataclass(frozen=True)
class Kind:
    """Of rooms that are planned alike."""

    name: str
    rooms: str
    bytes: int  # of an element of both operands
    token_step_bytes: int  # of a row of tokens: a step's elements and their scales
    widest: int  # columns of a tile at most
    lowest: int  # rows of a tile at least


KINDS = (
    Kind("16 bits", "linear", 2, STEP, 256, 128),
    Kind("FP8", "gemm_fp8_block128", 1, STEP + 4, 128, 64),
)


@dataclass(frozen=True)
class Planned:
    rows: int
    columns: int
    swap: int
    down: int
    across: int
    band: int
    steps: int
    split: int
    pair: int  # 2: blocks of a cluster that share their columns
    clusters: int
    step_clocks: int
    fixed_clocks: int
    together_clocks: int
    asked: int  # bytes that L2 serves
    missed: int  # of them those that memory serves

    @property
    def tiles(self) -> int:
        return self.down * self.across * self.pair

    @property
    def slowest(self) -> int:
        """Clocks of the SM that has most."""
        tasks = -(-self.tiles // (self.clusters * self.pair))
        one = -(-self.steps // self.split) * self.step_clocks + self.fixed_clocks
        return tasks * one + self.together_clocks

    def least(self, sms: int, cut: bool) -> int:
        return least_payload([(self.tiles, self.steps * self.step_clocks)], sms, self.fixed_clocks, cut)


def planned(kind: Kind, m: int, n: int, k: int, card: str, l2_bytes: int) -> Planned:
    tiles = (kind.widest, kind.lowest)
    numbers = (m, n, k * kind.bytes, kind.token_step_bytes, list(DEVICES).index(card), *tiles, l2_bytes)
    found = (ctypes.c_int64 * len(Planned.__dataclass_fields__))()
    compiled("plans.cpp").opswap_plan_of(*map(ctypes.c_int64, numbers), found)
    return Planned(*found)


@dataclass(frozen=True)
class Figures:
    """Of a plan on one card; all are ratios, and 1 is the best."""

    plan: Planned
    whole: float  # the slowest SM over the least with tiles whole
    cut: float  # and with tiles that may be cut anywhere along K
    time: float  # as `cut`, where neither side is done before memory is
    asked: float  # bytes that L2 serves over the least bytes
    memory: float  # bytes that memory serves over them
    memory_share: float  # what memory takes for its bytes, of the slowest SM's time


def least_bytes(kind: Kind, m: int, n: int, k: int) -> int:
    """Both operands and the scales of tokens once, and out in 16 bits."""
    scales = -(-k * kind.bytes // STEP) * (kind.token_step_bytes - STEP)
    return (m + n) * k * kind.bytes + m * scales + m * n * 2


def figures(kind: Kind, m: int, n: int, k: int, card: str) -> Figures:
    device = DEVICES[card]
    sms, least, written = device["sms"], least_bytes(kind, m, n, k), m * n * 2
    plan = planned(kind, m, n, k, card, int(device["l2_mb"] * 2**20) // L2_COPIES)
    whole, cut = plan.least(sms, cut=False), plan.least(sms, cut=True)
    a_clock = delivered(card) * sms
    memory, moved = least / a_clock, plan.missed + written
    return Figures(
        plan,
        whole=plan.slowest / whole,
        cut=plan.slowest / cut,
        time=max(plan.slowest, memory) / max(cut, memory),
        asked=(plan.asked + written) / least,
        memory=moved / least,
        memory_share=moved / a_clock / plan.slowest,
    )
