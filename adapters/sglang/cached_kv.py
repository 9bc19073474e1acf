"""What a scheduler does to forget all cached KV between two steps, that of running requests too.

SGLang flushes its cache only when no request runs. For new weights it offers a pause that puts running requests back
into the queue, from which they are computed anew; the flush goes through in that pause, and the pause ends here, before
the next step. No key has to be salted by epoch: nothing of the old one is left.
"""

from __future__ import annotations

from typing import Any

#: Attributes of a scheduler that keeps KV where the flush does not reach, and what a user takes away to have it not.
BEYOND = {
    "enable_hierarchical_cache": "--enable-hierarchical-cache",
    "enable_lmcache": "--enable-lmcache",
    "enable_unified_cache_external_linker": "--enable-unified-cache-external-linker",
}


class CannotForget(RuntimeError):
    """This scheduler keeps KV that cannot be taken from it; the message says where and what to do."""


def forget(scheduler: Any) -> bool:
    """Whether it did; False only while a grammar is compiled, for a request that SGLang counts as running.

    Raises:
        CannotForget: before anything was changed.
    """
    _require_reach(scheduler)
    if scheduler.grammar_manager.grammar_queue:
        return False
    from sglang.srt.managers.io_struct import ContinueGenerationReqInput, PauseGenerationReqInput

    was_paused, room = scheduler._engine_paused, scheduler.max_queued_requests
    scheduler.max_queued_requests = None  # what runs already is not to be refused for want of room in the queue
    try:
        scheduler.pause_generation(PauseGenerationReqInput(mode="retract"))
        return bool(scheduler.flush_cache(empty_cache=False))
    finally:
        scheduler.max_queued_requests = room
        if not was_paused:
            scheduler.continue_generation(ContinueGenerationReqInput(torch_empty_cache=False))


def _require_reach(scheduler: Any) -> None:
    found = [flag for name, flag in BEYOND.items() if getattr(scheduler, name, False)]
    if scheduler.disaggregation_mode.value != "null":
        found.append("--disaggregation-mode")
    if found:
        raise CannotForget(f"a flush does not reach all KV that is kept with {', '.join(found)}; serve without")
