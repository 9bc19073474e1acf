"""All ranks at one step, or none; and every way in which that can go wrong is seen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ipc_fakes import DIGEST, OPS, FakeNative, FakeRanks
from opswap.ipc.coordinator import Coordinator, Outcome
from opswap.ipc.errors import IpcError

VERSIONS = dict.fromkeys(OPS, 1)
TIMEOUT = 5.0


def coordinator(ranks: FakeRanks) -> Coordinator:
    return Coordinator(ranks, DIGEST, VERSIONS)


def use(made: Coordinator, timeout: float = TIMEOUT, **changes: str) -> Outcome:
    return asyncio.run(made.use(changes, timeout))


def refused(made: Coordinator, timeout: float = TIMEOUT, **changes: str) -> IpcError:
    with pytest.raises(IpcError) as caught:
        use(made, timeout, **changes)
    return caught.value


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_rank_switches_at_one_step_and_epochs_rise(size: int) -> None:
    ranks = FakeRanks(size)
    made = coordinator(ranks)
    for epoch, impl in enumerate(["ref", "framework", "cpu"], start=1):
        ranks.begin_step()
        outcome = use(made, rms_norm=impl)
        assert (outcome.epoch, outcome.step) == (epoch, epoch + 1)
        assert [ack["rank"] for ack in outcome.acks] == list(range(size))
        assert ranks.active("rms_norm") == [impl] * size


def test_one_refusal_aborts_on_all_and_is_told_by_rank() -> None:
    ranks = FakeRanks(3)
    ranks.natives[1].impls["rms_norm"]["ref"] = "out of memory"
    error = refused(coordinator(ranks), rms_norm="ref")
    assert error.code == "OPSWAP_E_REFUSED"
    assert "1 of 3 ranks refused, nothing changed" in error.message
    assert error.ranks == [
        {"rank": 1, "code": "OPSWAP_E_UNUSABLE", "reason": "rms_norm: ref cannot run here: out of memory"}
    ]
    assert ranks.calls == ["prepare", "abort"]
    assert ranks.active("rms_norm") == ["cpu"] * 3
    assert all(switch.status()["prepared"] is None for switch in ranks.switches)


def test_a_rank_that_read_other_plan_files_refuses_and_names_both() -> None:
    ranks = FakeRanks(3)
    for native, plans in zip(ranks.natives, ("a" * 64, "b" * 64, "a" * 64), strict=True):
        native.plans = plans
    ranks.make()
    error = refused(Coordinator(ranks, DIGEST, VERSIONS, "a" * 64), rms_norm="ref")
    assert "1 of 3 ranks refused, nothing changed" in error.message
    told = f"this rank read plan files {'b' * 16} at its start, asked for plan files {'a' * 16}"
    remedy = "give all ranks the same files, and restart the engine"
    assert error.ranks == [{"rank": 1, "code": "OPSWAP_E_BUILD", "reason": f"{told}; {remedy}"}]
    assert ranks.active("rms_norm") == ["cpu"] * 3


def test_a_rank_with_plan_files_refuses_an_agent_without() -> None:
    ranks = FakeRanks(1)
    ranks.natives[0].plans = "a" * 64
    ranks.make()
    error = refused(Coordinator(ranks, DIGEST, VERSIONS, ""), rms_norm="ref")
    assert "asked for no plan files" in error.message


def test_a_refusal_that_all_share_keeps_its_own_code() -> None:
    error = refused(coordinator(FakeRanks()), rms_norms="ref")
    assert error.code == "OPSWAP_E_NO_OP"
    assert error.message == "no op named 'rms_norms'; did you mean rms_norm?"


def test_what_every_rank_runs_already_is_no_switch() -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)
    use(made, rms_norm="ref")
    ranks.calls.clear()
    ranks.begin_step()
    again = use(made, rms_norm="ref", linear="cpu")
    assert (again.epoch, again.step, again.acks, again.isolation) == (1, 1, [], None)
    assert ranks.calls == ["prepare", "abort"]
    assert use(made, rms_norm="cpu").epoch == 2


def test_a_rank_that_alone_runs_something_else_is_a_switch() -> None:
    ranks = FakeRanks()
    ranks.natives[1].chosen["rms_norm"] = "ref"
    assert use(coordinator(ranks), rms_norm="cpu").epoch == 1
    assert ranks.active("rms_norm") == ["cpu"] * 2


def test_a_refusal_uses_no_epoch_unless_a_rank_may_still_hold_it() -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)
    for _ in range(3):
        refused(made, rms_norm="sm90")
    assert use(made, rms_norm="ref").epoch == 1
    ranks.fault = lambda method, _rank, answer: None if method == "abort" else answer
    refused(made, rms_norm="sm90")
    ranks.fault = lambda _method, _rank, answer: answer
    assert use(made, rms_norm="cpu").epoch == 3


def test_a_commit_that_every_rank_refuses_is_a_refusal_and_no_divergence() -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)

    def busy(method: str, rank: int, answer: dict[str, Any]) -> dict[str, Any]:
        no = {"rank": rank, "ok": False, "code": "OPSWAP_E_BUSY", "reason": "in the middle of a step"}
        return no if method == "commit" else answer

    ranks.fault = busy
    ranks.switches = [_Deaf(switch) for switch in ranks.switches]
    assert refused(made, rms_norm="ref").code == "OPSWAP_E_BUSY"
    assert ranks.calls == ["prepare", "commit", "abort"]
    assert made.divergence is None
    assert ranks.active("rms_norm") == ["cpu"] * 2


class _Deaf:
    """A rank whose commit never reaches its state machine."""

    def __init__(self, switch: Any) -> None:
        self._switch = switch

    def __getattr__(self, name: str) -> Any:
        return (lambda _epoch: {}) if name == "commit" else getattr(self._switch, name)


def test_a_neutral_switch_keeps_cached_kv() -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)
    outcome = asyncio.run(made.use({"rms_norm": "ref"}, TIMEOUT, "bit-equal"))
    assert outcome.isolation["outcome"] == "neutral"
    assert use(made, rms_norm="cpu").isolation["outcome"] == "isolated"


def test_ranks_with_another_build_refuse() -> None:
    ranks = FakeRanks()
    ranks.natives[1] = FakeNative(digest="e" * 64)
    ranks.make()
    assert refused(coordinator(ranks), rms_norm="ref").ranks[0]["code"] == "OPSWAP_E_BUILD"
    assert ranks.active("rms_norm") == ["cpu"] * 2


def test_a_switch_is_two_calls() -> None:
    ranks = FakeRanks()
    use(coordinator(ranks), rms_norm="ref")
    assert ranks.calls == ["prepare", "commit"]


def test_silence_before_the_commit_changes_nothing() -> None:
    ranks = FakeRanks()
    ranks.delay = lambda called: 5.0 if called == "prepare" else 0.0
    error = refused(coordinator(ranks), timeout=0.05, rms_norm="ref")
    assert error.code == "OPSWAP_E_TIMEOUT"
    assert "prepare" in error.message
    assert ranks.active("rms_norm") == ["cpu"] * 2
    assert ranks.calls == ["prepare", "abort"]


def test_a_broken_broadcast_is_an_error_of_its_own() -> None:
    class Broken(FakeRanks):
        async def call(self, method: str, *args: Any) -> list[dict[str, Any]]:
            raise ConnectionResetError("worker died")

    assert "worker died" in refused(coordinator(Broken()), rms_norm="ref").message


def once(ranks: FakeRanks, wrong: Any) -> None:
    """Plants `wrong(rank, ack)` into the first commit only, as a passing fault would be."""
    seen: list[int] = []

    def fault(method: str, rank: int, answer: dict[str, Any]) -> dict[str, Any] | None:
        if method != "commit" or len(seen) >= len(ranks.switches):
            return answer
        seen.append(rank)
        result: dict[str, Any] | None = wrong(rank, answer)
        return result

    ranks.fault = fault


def test_a_rank_skewed_commit_is_detected_and_taken_back() -> None:
    """The planted fault: rank 1 runs one more step before it commits."""
    ranks = FakeRanks()
    made = coordinator(ranks)
    once(ranks, lambda rank, ack: {**ack, "step": ack["step"] + rank})
    error = refused(made, rms_norm="ref")
    assert error.code == "OPSWAP_E_DIVERGED"
    assert "ranks applied it at different steps (rank 0: 1, rank 1: 2)" in error.message
    assert "switched back (rms_norm to cpu)" in error.message
    assert ranks.active("rms_norm") == ["cpu"] * 2
    assert made.divergence is None
    assert {context.epoch for context in ranks.contexts} == {2}
    assert use(made, rms_norm="ref").epoch == 3


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda rank, ack: None if rank == 1 else ack, "expected one ack of each of the ranks [0, 1]; got [0]"),
        (lambda rank, ack: {**ack, "rank": 0}, "got [0, 0]"),
        (lambda rank, ack: {**ack, "epoch": ack["epoch"] + rank}, "at different epochs"),
        (
            lambda rank, ack: {"rank": rank, "ok": False, "code": "X", "reason": "no"} if rank else ack,
            "rank 1 refused: no",
        ),
    ],
)
def test_acks_that_are_missing_or_disagree_are_taken_back(wrong: Any, told: str) -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)
    once(ranks, wrong)
    error = refused(made, rms_norm="ref")
    assert error.code == "OPSWAP_E_DIVERGED"
    assert told in error.message
    assert ranks.active("rms_norm") == ["cpu"] * 2
    assert made.divergence is None


def test_a_rank_that_fails_at_commit_alone_is_brought_back_with_the_others() -> None:
    ranks = FakeRanks()
    broken = [True]

    def fail_once(_op: str, _impl: str) -> None:
        if broken and broken.pop():
            raise RuntimeError("driver hiccup")

    ranks.natives[1].on_use = fail_once
    error = refused(coordinator(ranks), rms_norm="ref")
    assert "driver hiccup" in error.message
    assert ranks.active("rms_norm") == ["cpu"] * 2


def test_a_divergence_that_cannot_be_mended_stays_on_record_until_a_switch_succeeds() -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)
    ranks.fault = lambda method, rank, answer: {**answer, "step": rank} if method == "commit" else answer
    error = refused(made, rms_norm="ref")
    assert error.code == "OPSWAP_E_DIVERGED"
    assert "switching back failed too" in error.message
    assert made.divergence is not None
    ranks.fault = lambda _method, _rank, answer: answer
    use(made, rms_norm="framework")
    assert made.divergence is None
    assert ranks.active("rms_norm") == ["framework"] * 2


def test_a_divergence_of_one_op_is_not_forgotten_by_a_switch_of_another() -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)
    ranks.fault = lambda method, rank, answer: {**answer, "step": rank} if method == "commit" else answer
    refused(made, rms_norm="ref")
    ranks.fault = lambda _method, _rank, answer: answer
    use(made, linear="ref")
    assert made.divergence is not None
    assert (made.is_apart(["rms_norm"]), made.is_apart(["linear"])) == (True, False)
    use(made, rms_norm="cpu")
    assert made.divergence is None


def test_silence_at_the_commit_is_a_divergence() -> None:
    ranks = FakeRanks()
    made = coordinator(ranks)
    ranks.delay = lambda method: 5.0 if method == "commit" else 0.0
    error = refused(made, timeout=0.05, rms_norm="ref")
    assert error.code == "OPSWAP_E_DIVERGED"
    assert made.divergence is not None


def test_the_epoch_goes_above_what_any_rank_has_seen() -> None:
    ranks = FakeRanks()
    ranks.contexts[0].epoch = ranks.contexts[1].epoch = 40
    ranks.switches[1].prepare(57, {"rms_norm": "ref"}, DIGEST, VERSIONS)
    assert use(coordinator(ranks), rms_norm="ref").epoch == 58
    assert ranks.calls == ["prepare", "prepare", "commit"]


def test_an_epoch_that_another_agent_has_committed_is_passed_over() -> None:
    ranks = FakeRanks()
    ranks.contexts[0].epoch = ranks.contexts[1].epoch = 1
    assert use(coordinator(ranks), rms_norm="ref").epoch == 2


def test_a_rank_that_alone_is_ahead_brings_the_others_along() -> None:
    ranks = FakeRanks()
    ranks.contexts[1].epoch = 40
    assert use(coordinator(ranks), rms_norm="ref").epoch == 41
    assert all(switch.status()["prepared"] is None for switch in ranks.switches)
