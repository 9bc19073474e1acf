"""A rank's side: SGLang's scheduler process, which takes broadcasts as RPC requests, between two steps.

Rank 0's scheduler reads the RPC socket when it looks for requests, and hands on what it found to the schedulers of all
ranks before any of them runs the next batch: each takes the same calls between the same two steps. SGLang would wait
for all ranks behind an RPC and send one reply; here each rank sends its own answer to the agent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from opswap.adapters.common.rank import AnsweringRank, RankMethods
from opswap.adapters.sglang import cached_kv, report
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.graphs import graphs_of

log = logging.getLogger("opswap.sglang")
Answer = dict[str, Any]
#: The RPC method that carries calls. SGLang has none of this name.
METHOD = "opswap_calls"


class SchedulerRank(RankMethods):
    """What a scheduler answers beyond what every rank does."""

    opswap_adapter = ADAPTER

    def __init__(self, scheduler: Any) -> None:
        from sglang.srt.runtime_context import get_parallel

        self._scheduler = scheduler
        self._runner = scheduler.tp_worker.model_runner
        self.rank = ADAPTER.context.rank = int(get_parallel().tp_rank)
        ADAPTER.context.graphs = partial(graphs_of, self._runner)

    def opswap_report(self) -> Answer:
        return report.of_model(self.rank, self._runner.model)

    def opswap_forget(self) -> Answer:
        """Forgets all cached KV, that of running requests too, and tells how far these are. Comes with a commit."""
        forgotten = cached_kv.forget(self._scheduler)
        return {"rank": self.rank, "ok": True, "forgotten": forgotten, "requests": progress_of(self._scheduler)}

    def opswap_progress(self) -> Answer:
        """Output tokens so far, by id, of the requests that have one. May be asked while a step runs."""
        return {"rank": self.rank, "ok": True, "requests": progress_of(self._scheduler)}


#: Makes the methods of a scheduler's rank; tests have ranks of their own.
make_rank: Callable[[Any], RankMethods] = SchedulerRank


def progress_of(scheduler: Any) -> dict[str, int]:
    """Of the requests that run or that were put back into the queue."""
    batches = [batch.reqs for batch in (scheduler.running_batch, scheduler.last_batch) if batch is not None]
    requests = [request for held in (*batches, scheduler.waiting_queue) for request in list(held)]
    counted = {str(request.rid): len(request.output_ids) for request in requests if not request.finished()}
    return {request: count for request, count in counted.items() if count}


def handle_rpc_request(original: Callable[..., Any], scheduler: Any, request: Any) -> Any:
    """Around Scheduler.handle_rpc_request, on every rank. None: nothing goes back by SGLang's socket."""
    if request.method != METHOD:
        return original(scheduler, request)
    rank = _rank_of(scheduler)
    try:
        for method, args in json.loads(request.parameters["calls"]):
            rank.receive(method, tuple(args))
            rank.step_boundary()
    except (KeyError, IndexError, TypeError, ValueError) as error:  # an agent sends no such thing, and a rank goes on
        log.warning("a call by RPC was refused: %s", error)
    return None


def _rank_of(scheduler: Any) -> AnsweringRank:
    if not hasattr(scheduler, "opswap_rank"):
        scheduler.opswap_rank = AnsweringRank(make_rank(scheduler))
    rank: AnsweringRank = scheduler.opswap_rank
    return rank
