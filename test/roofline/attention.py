"""How plans of attention cut sequences over a card, and what memory moves: computed, nothing is measured."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from roofline.attention_error import error_table
from roofline.cards import DEVICES
from roofline.count import Counted
from roofline.library import compiled
from roofline.plans import L2_COPIES
from roofline.products import lined

ATTENTION = "attention"
#: Of the record and its costs, as kernels/common/device/attention_plan.h describes them.
HEADER, PLACE, MOST_BINS, UNIT_KEYS, UNIT_COST, PART_COST = 16, 4, 144, 64, 1, 5
#: Lengths of the batches that FlashMLA's planner was looked at with.
BATCHES = {
    "64 x 4K": [4096] * 64,
    "1 x 128K + 31 x 4K": [131072] + [4096] * 31,
    "1 x 64K + 31 x 4K": [65536] + [4096] * 31,
    "64 x 512": [512] * 64,
}
#: HPC-Ops' decode workloads, one head of keys and eight of queries.
DECODE = {
    "64 x 512": [512] * 64,
    "64 x 4K": [4096] * 64,
    "32 x 128 + 32 x 4K": [128] * 32 + [4096] * 32,
    "1 x 16K + 15 x 64": [16384] + [64] * 15,
    "1 x 64K + 7 x 4K": [65536] + [4096] * 7,
    "1 x 64K + 15 x 4K": [65536] + [4096] * 15,
    "1 x 64K + 31 x 4K": [65536] + [4096] * 31,
    "1 x 128K + 31 x 4K": [131072] + [4096] * 31,
    "2 x 32K + 30 x 4K": [32768] * 2 + [4096] * 30,
}
QUERY_HEADS, FEATURES, ELEMENT = 8, 128, 2
#: Tokens of FA3's prefill, each with 16K tokens in all; heads of queries and of keys of Llama-2-7B.
PREFILL, PREFILL_TOKENS, HEADS, TILE_ROWS = (512, 1024, 2048, 4096, 8192, 16384), 16384, 32, 128
#: FA3 takes so many bytes of keys and values for what L2 holds, where rows see keys up to their own
#: (hopper/tile_scheduler.hpp, 0251105): heads whose tiles it hands out together, those of most keys first.
FA3_SECTION = 32 << 20


@dataclass(frozen=True)
class Plan:
    """A record, taken apart."""

    words: np.ndarray
    payload: int  # what the fullest bin may cost

    @property
    def bins(self) -> int:
        return int(self.words[1])

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Sequence, unit and part where each bin begins, and where the last one ends."""
        found = self.words[HEADER : HEADER + PLACE * (self.bins + 1)].reshape(-1, PLACE)
        return [(int(a), int(b), int(c)) for a, b, c, _ in found]

    @property
    def rows_before(self) -> list[int]:
        return self.words[HEADER + PLACE * (MOST_BINS + 1) :].tolist()

    def parts(self, units: Sequence[int]) -> list[list[tuple[int, int, int, int]]]:
        """Of each bin: sequence, first unit, end, number of the part."""
        found = []
        for begin, end in zip(self.places[:-1], self.places[1:], strict=True):
            own = []
            for i in range(begin[0], end[0] + (end[1] > 0)):
                first = begin[1] if i == begin[0] else 0
                last = end[1] if i == end[0] else units[i]
                own.append((i, first, last, begin[2] if i == begin[0] else 0))
            found.append(own)
        return found

    def costs(self, units: Sequence[int]) -> list[int]:
        return [
            sum((last - first) * UNIT_COST + PART_COST for _, first, last, _ in own if last > first)
            for own in self.parts(units)
        ]


def plan_of(units: Sequence[int], bins: int, whole: bool = False) -> Plan:
    words = np.full(HEADER + PLACE * (MOST_BINS + 1) + len(units) + 1, -7, np.int32)
    counts = np.asarray(units, np.int32)
    pointers = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)) for a in (counts, words)]
    make = compiled("attention_plans.cpp").opswap_attention_plan
    make.restype = ctypes.c_int64
    payload = make(ctypes.c_int32(bins), ctypes.c_int32(len(units)), ctypes.c_int32(whole), *pointers)
    return Plan(words, int(payload))


def units_of(lengths: Sequence[int]) -> list[int]:
    return [-(-length // UNIT_KEYS) for length in lengths]


def balance(lengths: Sequence[int], bins: int, whole: bool = False) -> float:
    """The fullest bin over the mean of sequences that nobody cuts."""
    units = units_of(lengths)
    uncut = sum(count * UNIT_COST + PART_COST for count in units if count)
    return max(plan_of(units, bins, whole).costs(units)) * bins / uncut


def balance_table() -> str:
    rows = [["balance: fullest bin over mean", *DEVICES, *(f"{name}, batch_invariant" for name in DEVICES), "parts"]]
    for name, lengths in BATCHES.items():
        sms = [device["sms"] for device in DEVICES.values()]
        cells = [f"{balance(lengths, n, whole):.2f}" for whole in (False, True) for n in sms]
        parts = "/".join(str(plan_of(units_of(lengths), n).rows_before[-1]) for n in sms)
        rows.append([name, *cells, f"{parts} <= {'/'.join(str(len(lengths) + n) for n in sms)}"])
    return lined(rows)


def decode_traffic(lengths: Sequence[int], bins: int) -> float:
    """Bytes with what parts write and read again, over keys, values, queries and results."""
    row = QUERY_HEADS * FEATURES
    least = sum(lengths) * FEATURES * 2 * ELEMENT + len(lengths) * row * 2 * ELEMENT
    parts = plan_of(units_of(lengths), bins).rows_before[-1]
    words = HEADER + PLACE * (MOST_BINS + 1) + len(lengths) + 1
    return (least + 2 * parts * (row + QUERY_HEADS) * 4 + 4 * words) / least


def kept_traffic(lengths: Sequence[int], card: str) -> float:
    """The same where parts that L2 still has are not read from memory: they are put together right behind the last."""
    bins, row = DEVICES[card]["sms"], QUERY_HEADS * FEATURES
    units, plan = np.asarray(units_of(lengths), np.int32), plan_of(units_of(lengths), DEVICES[card]["sms"])
    pointers = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)) for a in (units, plan.words)]
    sizes = (UNIT_KEYS * FEATURES * 2 * ELEMENT, (row + QUERY_HEADS) * 4, l2_of(card))
    missed = compiled("attention_plans.cpp").opswap_attention_rows_missed
    missed.restype = ctypes.c_int64
    again = plan.rows_before[-1] - missed(ctypes.c_int32(bins), *pointers, *map(ctypes.c_int64, sizes))
    least = sum(lengths) * FEATURES * 2 * ELEMENT + len(lengths) * row * 2 * ELEMENT
    return decode_traffic(lengths, bins) - again * sizes[1] / least


def l2_of(card: str) -> int:
    """Bytes of L2 that keep something: each half of it has a copy of its own."""
    return int(DEVICES[card]["l2_mb"] * 2**20) // L2_COPIES


@dataclass(frozen=True)
class Prefill:
    """Tiles of rows of heads, for test/roofline/attention_tasks.cpp."""

    tokens: int
    blocks: int
    causal: bool = True
    section: int = 0  # heads whose tiles are handed out together, the longest ones first; 0: our order
    waits: bool = False  # a block takes the next tile when it is free; without it each has its own ones

    @property
    def tiles(self) -> int:
        return -(-self.tokens // TILE_ROWS)

    @property
    def heads(self) -> int:
        return PREFILL_TOKENS // self.tokens * HEADS

    @property
    def own_bytes(self) -> int:
        """Queries and results, rows of as many bytes as those of keys."""
        return 2 * self.heads * self.tiles * TILE_ROWS * FEATURES * ELEMENT

    @property
    def head_bytes(self) -> int:
        return 2 * self.tokens * FEATURES * ELEMENT

    def numbers(self) -> ctypes.Array[ctypes.c_int64]:
        of = (self.heads, self.tiles, self.blocks, self.causal, self.section, self.waits)
        return (ctypes.c_int64 * len(of))(*of)


def order_of(blocks: int, tasks: int, pairs: bool = True) -> tuple[list[int], list[int]]:
    """The places of tasks by their number, and the tiles of a head that has as many by their place."""
    places, tiles = (ctypes.c_int32 * tasks)(), (ctypes.c_int32 * tasks)()
    numbers = (ctypes.c_int32(n) for n in (blocks, tasks, pairs))
    compiled("attention_tasks.cpp").opswap_attention_order(*numbers, places, tiles)
    return list(places), list(tiles)


def of_fa3(of: Prefill) -> Prefill:
    """FA3's order of the same: as ours where rows see all keys."""
    if not of.causal:
        return of
    section = max(1, FA3_SECTION // of.head_bytes)
    return replace(of, section=1 << section.bit_length() - 1, waits=True)


def in_waves(of: Prefill) -> float:
    """If blocks went in waves, and L2 kept nothing from one to the next: what each reads of keys and values, over what
    it must if its tiles were of as few heads as they can."""
    least = sum(-(-min(of.blocks, left) // of.tiles) for left in range(of.heads * of.tiles, 0, -of.blocks))
    read = compiled("attention_tasks.cpp").opswap_attention_waves
    read.restype = ctypes.c_int64
    return (of.own_bytes + read(of.numbers()) * of.head_bytes) / (of.own_bytes + least * of.head_bytes)


def prefilled(of: Prefill, l2_bytes: int) -> tuple[float, float]:
    """Bytes that memory moves over the least, each key and value once; when the last block is done, over the mean."""
    found = (ctypes.c_int64 * 3)()
    compiled("attention_tasks.cpp").opswap_attention_prefill(of.numbers(), ctypes.c_int64(l2_bytes), found)
    moved, last, all_tiles = found
    return moved / (of.own_bytes + of.heads * of.head_bytes), last * of.blocks / all_tiles


def traffic_table() -> str:
    rows = [["decode: bytes over the least", *DEVICES, *(f"{name}, L2 keeps parts" for name in DEVICES)]]
    for name, lengths in DECODE.items():
        forgets = (f"{decode_traffic(lengths, d['sms']):.3f}" for d in DEVICES.values())
        rows.append([name, *forgets, *(f"{kept_traffic(lengths, card):.3f}" for card in DEVICES)])
    return lined(rows)


def prefill_table() -> str:
    heads = [f"{who} {what}" for what in ("in waves", "bytes", "last block") for who in ("own", "FA3's")]
    rows = [[f"prefill, {'/'.join(DEVICES)}", *heads]]
    for causal in (True, False):
        for tokens in PREFILL:
            columns: list[list[float]] = []
            for card, device in DEVICES.items():
                own = Prefill(tokens, device["sms"], causal)
                both = (own, of_fa3(own))
                pairs = [prefilled(of, l2_of(card)) for of in both]
                columns.append([in_waves(of) for of in both] + [pair[i] for i in (0, 1) for pair in pairs])
            cells = ["/".join(f"{x:.2f}" for x in of_cards) for of_cards in zip(*columns, strict=True)]
            rows.append([f"{tokens}{', causal' if causal else ''}", *cells])
    return lined(rows)


LEGEND = """
Balance: one head of keys, a block on each SM; the mean is of sequences that nobody cuts; parts are those that are put
together afterwards, beside sequences plus bins. Decode: one head of keys, eight of queries, 128 features, BF16, with
the plan and with parts written, and read unless L2 keeps them. Prefill: 16K tokens of Llama-2-7B's heads, in our order
and in FA3's. In waves: blocks start all tiles of a wave together, and L2 keeps nothing between waves; the least is each
head once a wave. Blocks that stay on their SM do not wait for each other, so bytes are counted as blocks go: all at one
pace, a tile of 128 keys at a time, the next task right behind the last, half of L2 keeps what was used last; the least
is each key and value once. Last block: when it is done, over the mean; what a task costs beside its keys is left out.
From plans alone, nothing is measured."""


def shown(counted: Counted | None) -> str:
    tables = [balance_table(), traffic_table(), prefill_table()]
    parts = [*tables, *([error_table(counted)] if counted else []), LEGEND.strip()]
    return "\n\n".join(parts)
