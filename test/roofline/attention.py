"""How plans of attention cut sequences over a card, and what memory moves: computed, nothing is measured."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from roofline.attention_error import error_table
from roofline.cards import DEVICES
from roofline.count import Counted
from roofline.library import compiled
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


def prefill_traffic(tokens: int, sms: int) -> float:
    """Blocks take tiles in order, those of a head of a sequence together: keys and values of each that a wave of tiles
    reads, over what such a wave must read if its tiles were of as few heads as they can."""
    tiles = -(-tokens // TILE_ROWS)
    heads = PREFILL_TOKENS // tokens * HEADS
    owners = np.repeat(np.arange(heads), tiles)
    read = sum(len(set(owners[i : i + sms].tolist())) for i in range(0, len(owners), sms))
    least = sum(-(-min(sms, len(owners) - i) // tiles) for i in range(0, len(owners), sms))
    own = 2 * len(owners) * TILE_ROWS  # queries and results, rows of as many bytes as those of keys
    return (own + read * 2 * tokens) / (own + least * 2 * tokens)


def traffic_table() -> str:
    rows = [["bytes over the least", *DEVICES]]
    for name, lengths in DECODE.items():
        rows.append([f"decode {name}", *(f"{decode_traffic(lengths, d['sms']):.3f}" for d in DEVICES.values())])
    for tokens in PREFILL:
        rows.append([f"prefill of {tokens}", *(f"{prefill_traffic(tokens, d['sms']):.3f}" for d in DEVICES.values())])
    return lined(rows)


LEGEND = """
Balance: one head of keys, a block on each SM; the mean is of sequences that nobody cuts; parts are those that are put
together afterwards, beside sequences plus bins. Decode: one head of keys, eight of queries, 128 features, BF16, with
the plan and with parts written and read. Prefill: 16K tokens of Llama-2-7B's heads; a wave of tiles reads each head's
keys and values once. From plans alone, nothing is measured."""


def shown(counted: Counted | None) -> str:
    parts = [balance_table(), traffic_table(), *([error_table(counted)] if counted else []), LEGEND.strip()]
    return "\n\n".join(parts)
