"""A real `sglang.Engine` on a CPU, whose ranks are processes of their own, and which is asked while it is switched."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: Folders of plugins, which the ranks import by name.
PLUGINS = {"opswap_cpu_rig": HERE / "rig", "opswap_loud": HERE / "loud"}
SMALL = {
    "device": "cpu",
    "dtype": "float32",
    "skip_tokenizer_init": True,
    "attention_backend": "opswap",
    "mem_fraction_static": 0.2,
    "max_total_tokens": 4096,
    "context_length": 256,
    "max_running_requests": 8,
    "disable_cuda_graph": True,
    "sleep_on_idle": True,
    "random_seed": 1,
    "log_level": "warning",
}


def prepare_environment() -> None:
    """Before SGLang is imported here; the ranks inherit it."""
    os.environ["SGLANG_PLUGINS"] = ",".join(["opswap", *PLUGINS])
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["SGLANG_CPU_OMP_THREADS_BIND"] = two_cores()
    for folder in PLUGINS.values():
        sys.path.insert(0, str(folder))


def two_cores() -> str:
    """One for each of two schedulers: SGLang wants them named where there are more than NUMA nodes."""
    cores = sorted(os.sched_getaffinity(0))
    return "|".join(str(cores[rank % len(cores)]) for rank in range(2))


class Asked:
    """An engine whose requests and switches run side by side: its own loop has a thread here."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._thread = threading.Thread(target=engine.loop.run_forever, daemon=True)
        self._thread.start()

    def ask(self, prompt: list[int], count: int) -> Future[dict[str, Any]]:
        greedy = {"temperature": 0, "max_new_tokens": count, "ignore_eos": True}
        asked = self.engine.async_generate(input_ids=prompt, sampling_params=greedy)
        return asyncio.run_coroutine_threadsafe(asked, self.engine.loop)

    def tokens(self, prompt: list[int], count: int) -> list[int]:
        return list(self.ask(prompt, count).result()["output_ids"])

    @contextmanager
    def load(self, streams: int = 3, count: int = 40) -> Iterator[None]:
        """Requests that never stop coming, so that every commit meets running ones."""
        running = True

        def client(number: int) -> None:
            at = 0
            while running:
                self.tokens([1, 5, 9, 33, number, at % 200], count)
                at += 1

        threads = [threading.Thread(target=client, args=(number,)) for number in range(streams)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            running = False
            for thread in threads:
                thread.join()

    def stop(self) -> None:
        self.engine.loop.call_soon_threadsafe(self.engine.loop.stop)
        self._thread.join()
        self.engine.shutdown()
