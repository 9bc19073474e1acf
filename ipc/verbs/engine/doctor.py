"""`doctor` of an engine: what can be told from the outside about its ranks; the adapter adds what only it can see."""

from __future__ import annotations

from typing import Any

from ...engine import Engine
from .status import status

Status = dict[str, Any]
Check = dict[str, str]
WORST_FIRST = ("fail", "warn", "ok")


async def doctor(engine: Engine, _fields: dict[str, Any]) -> dict[str, Any]:
    found = await status(engine, {})
    return diagnose(found, [] if found["unanswered"] else await engine.info.doctor())


def diagnose(status: Status, others: list[Check]) -> dict[str, Any]:
    """The result of `doctor`, from the result of `status` and the adapter's checks."""
    of_ranks = [_silent(status)] if status["unanswered"] else [_ranks(status), _builds(status), *_plans(status)]
    checks = [*of_ranks, _switch(status), _memory(status), *_overdue(status), *others]
    checks.sort(key=lambda check: WORST_FIRST.index(check["state"]))
    return {"healthy": all(check["state"] != "fail" for check in checks), "checks": checks}


def _check(name: str, state: str, message: str, remedy: str = "") -> Check:
    return {"name": name, "state": state, "message": message, "remedy": remedy}


def _silent(status: Status) -> Check:
    """The agent's process lives, and the ranks behind it do not answer: nothing else can be said of them."""
    return _check("ranks", "fail", status["unanswered"], "look at the engine's log; if they stay silent, restart it")


def _ranks(status: Status) -> Check:
    ranks = status["ranks"]
    epochs = {rank["epoch"] for rank in ranks}
    choices = {tuple(sorted(rank["choice"].items())) for rank in ranks}
    if len(epochs) == 1 and len(choices) == 1:
        return _check("ranks", "ok", f"{len(ranks)} at epoch {epochs.pop()}, all with the same choice")
    told = ", ".join(f"rank {rank['rank']}: epoch {rank['epoch']}" for rank in ranks)
    return _check(
        "ranks", "fail", f"ranks differ ({told})", "switch the op again; if they still differ, restart the engine"
    )


def _builds(status: Status) -> Check:
    mine = status["version"]["build_digest"]
    others = [rank["rank"] for rank in status["ranks"] if rank["build_digest"] != mine]
    if not others:
        return _check("build", "ok", f"{status['version']['pack_version']}, build {mine[:16]} on every rank")
    return _check(
        "build", "fail", f"ranks {others} run another build than the agent", "restart the engine on one installation"
    )


def _plans(status: Status) -> list[Check]:
    """Nothing where no process has plan files, which is how most engines run."""
    mine = status["version"].get("plans", "")
    others = [rank["rank"] for rank in status["ranks"] if rank.get("plans", "") != mine]
    if others:
        told = f"ranks {others} read other plan files than the agent"
        return [_check("plans", "fail", told, "give all ranks the same files (docs/tune.md), and restart the engine")]
    return [_check("plans", "ok", f"plan files {mine[:16]} on every rank")] if mine else []


def _switch(status: Status) -> Check:
    if status["divergence"] is None:
        return _check("switch", "ok", "the last switch was confirmed by every rank")
    return _check("switch", "fail", status["divergence"], "switch the op again; if that fails, restart the engine")


def _overdue(status: Status) -> list[Check]:
    """Overrides whose time is over, and which cannot be taken back."""
    late = [f"{each['op']}={each['impl']}" for each in status["overrides"] if each["left_ms"] == 0]
    if not late:
        return []
    told = f"the time of {', '.join(late)} is over, and the ranks could not be switched back yet"
    return [_check("overrides", "fail", told, "see the engine's log; it is tried again until the ranks answer")]


def _memory(status: Status) -> Check:
    restored, unsaved = status["restored"], status["counters"].get("not_saved", 0)
    if unsaved:
        return _check(
            "saved choice", "warn", f"{unsaved} switches could not be saved", "make the runtime folder writable"
        )
    if restored["outcome"] in ("none", "restored"):
        return _check("saved choice", "ok", restored["message"])
    if restored["outcome"] == "barred":
        lift = "`opswap why OP` says what is barred; `opswap reset OP` lifts that, when you know why the engine died"
        return _check("saved choice", "warn", restored["message"], lift)
    return _check("saved choice", "warn", restored["message"], "switch to what you want; the file is written anew")
