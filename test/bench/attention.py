"""Attention on the CPU, in turn in one process, on as many threads: beside torch's, FP8 caches beside BF16 ones, what
batch_invariant costs, and a shared prefix read once beside the same keys in every sequence's table.

`npm run bench -- attention [--rounds N] [--threads N] [--only decode|prefill|cascade]`. Heads are llama-3-8b's, in
BF16. Torch gathers the pages of decoding sequences in its own time, and has the heads of a group as rows, which is
several times faster than enable_gqa; before a prefill its keys lie there already, and the better of enable_gqa and of
keys repeated before counts. Prints JSON: medians in milliseconds, and ratios of them, above 1 where ours, or the one
named first, is quicker.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import opswap
import opswap.torch_ops
import torch
import torch.nn.functional as F

QUERY_HEADS, KV_HEADS, SIZE, PAGE = 32, 8, 128, 16
DECODE = ((64, 512), (8, 4096))  # sequences, keys of each
PREFILL = (512, 2048)  # tokens of one sequence
CASCADE = (16, 2048, 128)  # sequences, keys of the prefix, keys of each behind it
#: How much smaller stored codes are than the keys, one scale for all heads.
SCALE = 1 / 64
#: Read before each run, by one thread: no run finds keys in a cache, and torch's threads have stopped spinning, which
#: would hold the core of another.
OTHERS = 128 << 20
Sides = dict[str, Callable[[], object]]


@dataclass
class Batch:
    """Sequences of one length over scattered pages, and what attention of their newest tokens is called with."""

    query: torch.Tensor
    out: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    table: torch.Tensor
    starts: torch.Tensor
    lens: torch.Tensor

    @staticmethod
    def of(sequences: int, length: int, tokens: int) -> Batch:
        pages = -(-length // PAGE)
        keys, values = (torch.randn(sequences * pages, KV_HEADS, PAGE, SIZE).bfloat16() for _ in range(2))
        query = torch.randn(sequences * tokens, QUERY_HEADS, SIZE).bfloat16()
        return Batch(
            query,
            torch.empty_like(query),
            keys,
            values,
            torch.randperm(sequences * pages).int().view(sequences, pages),
            torch.arange(sequences + 1, dtype=torch.int32) * tokens,
            torch.full((sequences,), length, dtype=torch.int32),
        )

    def gathered(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [sequences, KV_HEADS, length, SIZE]."""
        at = self.table.long()
        return tuple(cache[at].transpose(1, 2).flatten(2, 3) for cache in (self.keys, self.values))

    def decode(self, fp8: bool = False, invariant: bool = False) -> Callable[[], object]:
        op = torch.ops.opswap.attention_decode.default
        caches, scales = [self.keys, self.values], [None, None]
        if fp8:
            caches = [(cache.float() / SCALE).to(torch.float8_e4m3fn) for cache in caches]
            scales = [torch.tensor([SCALE])] * 2
        args = [self.out, None, self.query, *caches, self.table, self.lens, *scales, None, None, None, None]
        return lambda: op(*args, SIZE**-0.5, batch_invariant=invariant)

    def torch_decode(self) -> Callable[[], object]:
        def run() -> torch.Tensor:
            keys, values = self.gathered()
            rows = self.query.view(len(self.lens), KV_HEADS, -1, SIZE)
            return F.scaled_dot_product_attention(rows, keys, values).view_as(self.out)

        return run

    def prefill(self, invariant: bool = False) -> Callable[[], object]:
        op = torch.ops.opswap.attention_prefill.default
        where = [self.table, None, self.starts, self.lens]
        args = [self.out, None, self.query, self.keys, self.values, *where, None, None, None, None, None]
        return lambda: op(*args, SIZE**-0.5, batch_invariant=invariant)

    def torch_prefill(self) -> Sides:
        keys, values = (x.contiguous() for x in self.gathered())
        query = self.query.view(len(self.lens), -1, QUERY_HEADS, SIZE).transpose(1, 2).contiguous()
        wide = [x.repeat_interleave(QUERY_HEADS // KV_HEADS, 1) for x in (keys, values)]

        def run(keys: torch.Tensor, values: torch.Tensor, gqa: bool) -> torch.Tensor:
            out = F.scaled_dot_product_attention(query, keys, values, is_causal=True, enable_gqa=gqa)
            return out.transpose(1, 2).reshape(self.out.shape)

        return {"torch": lambda: run(keys, values, True), "torch_repeated": lambda: run(*wide, False)}


def agree(batch: Batch, ours: Callable[[], object], theirs: Callable[[], object], atol: float) -> None:
    expected = theirs()
    ours()
    torch.testing.assert_close(batch.out, expected, rtol=0.05, atol=atol)


def decode_rows() -> Iterator[tuple[str, Sides]]:
    for sequences, length in DECODE:
        batch = Batch.of(sequences, length, 1)
        sides = {
            "opswap": batch.decode(),
            "opswap_invariant": batch.decode(invariant=True),
            "opswap_fp8": batch.decode(fp8=True),
            "torch": batch.torch_decode(),
        }
        agree(batch, sides["opswap"], sides["torch"], 0.01)
        agree(batch, sides["opswap_fp8"], sides["torch"], 0.05)
        yield f"decode {sequences} x {length}", sides


def prefill_rows() -> Iterator[tuple[str, Sides]]:
    for tokens in PREFILL:
        batch = Batch.of(1, tokens, tokens)
        sides = {"opswap": batch.prefill(), "opswap_invariant": batch.prefill(invariant=True), **batch.torch_prefill()}
        agree(batch, sides["opswap"], sides["torch"], 0.02)
        yield f"prefill {tokens}", sides


def cascade_rows() -> Iterator[tuple[str, Sides]]:
    sequences, shared, own = CASCADE
    batch, pages = Batch.of(sequences, shared + own, 1), shared // PAGE
    batch.table[:, :pages] = batch.table[0, :pages].clone()
    ops = torch.ops.opswap
    before = [batch.out, None, batch.query, batch.keys, batch.values]
    behind = batch.table[:, pages:].contiguous()
    parts = [batch.table[:1, :pages], behind, batch.starts, batch.lens - shared]
    sides = {
        "opswap": lambda: ops.cascade_attention(*before, *parts, *[None] * 6, SIZE**-0.5, shared),
        "paged": lambda: ops.paged_attention(*before, batch.table, batch.starts, batch.lens, *[None] * 6, SIZE**-0.5),
    }
    sides["paged"]()
    expected = batch.out.clone()
    agree(batch, sides["opswap"], lambda: expected, 0.01)
    yield f"cascade {sequences} x ({shared} + {own})", sides


def measure(runs: Sides, rounds: int, others: np.ndarray) -> dict:
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            others.sum()
            start = time.perf_counter()
            run()
            samples[name].append((time.perf_counter() - start) * 1e3)
    median = {name: statistics.median(values) for name, values in samples.items()}
    ours = median["opswap"]
    theirs = [median[name] for name in median if name.startswith("torch")]
    ratios = {"over_torch": min(theirs) / ours} if theirs else {}
    if "paged" in median:
        ratios["over_paged"] = median["paged"] / ours
    if "opswap_invariant" in median:
        ratios["invariant_costs"] = median["opswap_invariant"] / ours
    if "opswap_fp8" in median:
        ratios["fp8_over_bf16"] = ours / median["opswap_fp8"]
    return {
        "median_ms": {name: round(value, 2) for name, value in median.items()},
        **{name: round(value, 2) for name, value in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="of both sides; 0: every CPU this process may use")
    parser.add_argument("--only", default="", help="decode, prefill or cascade alone")
    options = parser.parse_args()
    opswap.torch_ops.register()
    opswap.set_threads(options.threads)
    torch.set_num_threads(opswap.get_threads())
    report = {"benchmark": "attention", "cpu_isa": opswap.version()["cpu_isa"], "threads": opswap.get_threads()}
    others = np.zeros(OTHERS // 8)
    for rows in (decode_rows, prefill_rows, cascade_rows):
        if options.only and not rows.__name__.startswith(options.only):
            continue
        for name, sides in rows():
            report[name] = measure(sides, max(1, options.rounds), others)
    print(json.dumps({**report, "load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
