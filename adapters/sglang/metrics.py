"""The rank's counters in SGLang's own registry, so that its /metrics shows them (--enable-metrics)."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import opswap
from opswap.adapters.sglang.adapter import ADAPTER

#: Seconds between two looks at the counters: a scrape sees what is at most that old.
PERIOD = 1.0


class Metrics:
    """Of one rank. The registry's counters only rise, so each look adds what has come since the last one."""

    def __init__(self, rank: int) -> None:
        # SGLang sets the folder that its processes share before it makes ranks, and this import looks at it.
        from prometheus_client import Counter

        self._rank, self._due = str(rank), 0.0
        self._calls = Counter("opswap:calls", "Calls of an op.", ("rank", "op", "impl"))
        self._bypassed = Counter(
            "opswap:bypassed", "Layers and calls that SGLang's own code ran.", ("rank", "layer", "reason")
        )
        self._seen: dict[tuple[Any, tuple[str, ...]], int] = {}

    def look(self) -> None:
        """To be called at each step; does something once in PERIOD."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + PERIOD
        for row in opswap.stats()["ops"]:
            for impl in row["impls"]:
                self._raise(self._calls, (row["op"], impl["name"]), impl["calls"])
        for what, count in ADAPTER.state.bypassed.items():
            layer, _, reason = what.partition(": ")
            self._raise(self._bypassed, (layer, reason), count)

    def _raise(self, counter: Any, labels: tuple[str, str], count: int) -> None:
        before = self._seen.get((counter, labels), 0)
        self._seen[counter, labels] = count
        # The library's counters start anew when somebody resets them.
        if more := count - before if count >= before else count:
            counter.labels(self._rank, *labels).inc(more)


@cache
def of_rank(rank: int) -> Metrics | None:
    """None where SGLang has no metrics."""
    from sglang.srt.runtime_context import get_observability

    return Metrics(rank) if get_observability().enable_metrics else None
