"""The state machine of one rank: what it accepts, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ipc_fakes import DIGEST, IMPLS, OPS, FakeContext, FakeError, FakeNative
from opswap.ipc.rank import RankSwitch
from opswap.ipc.toggles import Graphs

VERSIONS = dict.fromkeys(OPS, 1)


def make() -> tuple[RankSwitch, FakeNative, FakeContext]:
    native, context = FakeNative(), FakeContext(3)
    return RankSwitch(native, context), native, context


def prepare(switch: RankSwitch, epoch: int = 1, digest: str = DIGEST, **changes: str) -> dict[str, Any]:
    return switch.prepare(epoch, changes, digest, VERSIONS)


def test_prepare_changes_nothing_and_commit_changes_everything() -> None:
    switch, native, context = make()
    context.step = 41
    assert prepare(switch, rms_norm="ref", linear="framework")["previous"] == {"rms_norm": "cpu", "linear": "cpu"}
    assert native.chosen == dict.fromkeys(OPS, "cpu")
    assert switch.status()["prepared"] == 1
    ack = switch.commit(1)
    assert ack == {
        "rank": 3,
        "ok": True,
        "step": 42,
        "epoch": 1,
        "previous": {"rms_norm": "cpu", "linear": "cpu"},
        "applied": "live",
    }
    assert native.chosen == {"rms_norm": "ref", "silu_and_mul": "cpu", "linear": "framework"}
    assert context.epoch == 1
    assert switch.status()["choice"] == {"rms_norm": "ref", "linear": "framework"}


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"rms_norms": "ref"}, "OPSWAP_E_NO_OP", "did you mean rms_norm?"),
        ({"rms_norm": "reff"}, "OPSWAP_E_NO_IMPL", "did you mean ref?"),
        ({"rms_norm": "sm90"}, "OPSWAP_E_UNUSABLE", "no usable CUDA device"),
        ({"linear": "ref", "rms_norm": "sm90"}, "OPSWAP_E_UNUSABLE", "sm90 cannot run here"),
    ],
)
def test_refusals_name_the_reason_and_keep_the_old_choice(changes: dict[str, str], code: str, told: str) -> None:
    switch, native, _ = make()
    answer = prepare(switch, **changes)
    assert (answer["ok"], answer["code"]) == (False, code)
    assert told in answer["reason"]
    assert switch.status()["prepared"] is None
    assert switch.commit(1)["code"] == "OPSWAP_E_EPOCH"
    assert native.chosen == dict.fromkeys(OPS, "cpu")


def test_another_build_is_refused() -> None:
    switch, _, _ = make()
    assert prepare(switch, digest="e" * 64, rms_norm="ref")["code"] == "OPSWAP_E_BUILD"


def test_another_op_version_is_refused_with_both_numbers() -> None:
    switch = RankSwitch(FakeNative(versions={"rms_norm": 2}), FakeContext(0))
    answer = prepare(switch, rms_norm="ref")
    assert answer["code"] == "OPSWAP_E_BUILD"
    assert "has version 2 of the op, asked for 1" in answer["reason"]


def test_epochs_must_rise() -> None:
    switch, _, context = make()
    context.epoch = 5
    for epoch in (0, 4, 5):
        answer = prepare(switch, epoch, rms_norm="ref")
        assert answer["code"] == "OPSWAP_E_EPOCH"
        assert "above 5" in answer["reason"]
    assert prepare(switch, 6, rms_norm="ref")["ok"]
    assert prepare(switch, 6, rms_norm="cpu")["code"] == "OPSWAP_E_EPOCH"
    assert prepare(switch, 7, rms_norm="framework")["ok"]
    assert switch.commit(6)["code"] == "OPSWAP_E_EPOCH"


def test_commit_without_prepare_and_after_abort_is_refused() -> None:
    switch, native, _ = make()
    assert "nothing is prepared" in switch.commit(1)["reason"]
    prepare(switch, rms_norm="ref")
    assert switch.abort(2)["ok"]
    assert switch.status()["prepared"] == 1, "an abort of another epoch is not ours"
    assert switch.abort(1)["ok"]
    assert not switch.commit(1)["ok"]
    assert native.chosen["rms_norm"] == "cpu"


def test_a_commit_that_is_sent_twice_is_acknowledged_twice_and_applied_once() -> None:
    switch, native, context = make()
    prepare(switch, rms_norm="ref")
    first = switch.commit(1)
    native.use("rms_norm", "cpu")
    context.step += 10
    assert switch.commit(1) == first
    assert native.chosen["rms_norm"] == "cpu"


def test_a_library_that_refuses_half_way_is_put_back() -> None:
    switch, native, context = make()

    def refuse_linear(op: str, _impl: str) -> None:
        if op == "linear":
            raise FakeError("OPSWAP_E_UNUSABLE", "busy")

    prepare(switch, rms_norm="ref", linear="ref")
    native.on_use = refuse_linear
    answer = switch.commit(1)
    assert (answer["ok"], answer["code"]) == (False, "OPSWAP_E_UNUSABLE")
    assert native.chosen == dict.fromkeys(OPS, "cpu")
    assert context.epoch == 0
    assert switch.status()["choice"] == {}


class PlayedGraphs:
    """What graphs replay, without a device: each capture keeps what is active. `failures` captures in a row fail."""

    def __init__(self, native: FakeNative, *captured: str) -> None:
        self.native = native
        self.captured = frozenset(captured)
        self.failures = 0
        self.replayed: dict[str, str] = {}
        self.capture()

    def capture(self) -> None:
        self.replayed = {}
        if self.failures:
            self.failures -= 1
            raise RuntimeError("out of device memory")
        self.replayed = {op: self.native.chosen[op] for op in self.captured}

    def __call__(self) -> Graphs:
        return Graphs(self.captured, self.capture)


def test_a_switch_of_live_implementations_is_acknowledged_as_live_though_others_are_not() -> None:
    switch, native, _ = make()
    native.toggles = {"framework": "restart", "sm90": "recapture"}
    assert prepare(switch, rms_norm="ref")["ok"]
    assert switch.commit(1)["applied"] == "live"


@pytest.mark.parametrize(("toggles", "named"), [({"ref": "restart"}, "ref"), ({"cpu": "restart"}, "cpu")])
def test_what_needs_a_restart_is_refused_to_come_and_to_go(toggles: dict[str, str], named: str) -> None:
    switch, native, _ = make()
    native.toggles = toggles
    answer = prepare(switch, rms_norm="ref", linear="cpu")
    assert (answer["ok"], answer["code"]) == (False, "OPSWAP_E_TOGGLE")
    assert f"rms_norm: {named} can be chosen or left only at the start" in answer["reason"]
    assert switch.commit(1)["code"] == "OPSWAP_E_EPOCH"
    assert native.chosen == dict.fromkeys(OPS, "cpu")
    assert prepare(switch, 2, rms_norm="cpu")["ok"], "what runs already is no switch"


def test_what_needs_a_new_capture_is_refused_where_none_can_be_made() -> None:
    switch, native, _ = make()
    native.toggles = {"ref": "recapture"}
    answer = prepare(switch, rms_norm="ref")
    assert answer["code"] == "OPSWAP_E_TOGGLE"
    assert "ref needs a new capture" in answer["reason"] and "cannot capture CUDA graphs anew" in answer["reason"]


def test_a_captured_op_is_never_live_and_its_class_is_shown() -> None:
    switch, _, context = make()
    context.graphs = lambda: Graphs(frozenset({"linear"}), None, "start it without graphs")
    answer = prepare(switch, linear="ref")
    assert (answer["ok"], answer["code"]) == (False, "OPSWAP_E_TOGGLE")
    assert answer["reason"].endswith("replay its kernels (toggle class recapture), and start it without graphs")
    assert {impl["toggle_class"] for impl in switch.why("linear")["impls"]} == {"recapture"}
    classes = {row["op"]: {impl["toggle_class"] for impl in row["impls"]} for row in switch.ops()["ops"]}
    assert classes == {"rms_norm": {"live"}, "silu_and_mul": {"live"}, "linear": {"recapture"}}
    assert prepare(switch, 2, rms_norm="ref")["ok"], "another op is not captured"


def test_a_captured_op_is_captured_anew_behind_the_switch() -> None:
    switch, native, context = make()
    graphs = context.graphs = PlayedGraphs(native, "linear")
    assert prepare(switch, rms_norm="ref", linear="ref")["ok"]
    assert graphs.replayed == {"linear": "cpu"}
    assert switch.commit(1)["applied"] == "recapture"
    assert graphs.replayed == {"linear": "ref"}


@pytest.mark.parametrize(("failures", "told", "replayed"), [(1, "memory", {"linear": "cpu"}), (2, "nor those", {})])
def test_a_capture_that_fails_switches_back(failures: int, told: str, replayed: dict[str, str]) -> None:
    switch, native, context = make()
    graphs = context.graphs = PlayedGraphs(native, "linear")
    prepare(switch, rms_norm="ref", linear="ref")
    graphs.failures = failures
    answer = switch.commit(1)
    assert (answer["ok"], answer["code"]) == (False, "OPSWAP_E_TOGGLE")
    assert told in answer["reason"]
    assert native.chosen == dict.fromkeys(OPS, "cpu")
    assert graphs.replayed == replayed
    assert (context.epoch, switch.status()["choice"]) == (0, {})


def test_why_has_a_reason_for_every_implementation() -> None:
    switch, _, _ = make()
    told = switch.why("rms_norm")
    assert {impl["name"]: impl["reason"] for impl in told["impls"]} == IMPLS
    assert switch.why("nope")["code"] == "OPSWAP_E_NO_OP"


class AnyOrder(RuleBasedStateMachine):
    """Whatever order messages arrive in: what runs is always the last commit that was prepared, epochs only rise."""

    def __init__(self) -> None:
        super().__init__()
        self.switch, self.native, self.context = make()
        self.expected = dict.fromkeys(OPS, "cpu")
        self.waiting: tuple[int, dict[str, str]] | None = None
        self.committed = 0

    @rule(
        epoch=st.integers(0, 12),
        changes=st.dictionaries(st.sampled_from([*OPS, "nope"]), st.sampled_from([*IMPLS, "what"]), max_size=2),
    )
    def prepare(self, epoch: int, changes: dict[str, str]) -> None:
        possible = all(op in OPS and impl in IMPLS and not IMPLS[impl] for op, impl in changes.items())
        floor = max(self.committed, self.waiting[0] if self.waiting else 0)
        answer = prepare(self.switch, epoch, **changes)
        assert answer["ok"] == (possible and epoch > floor)
        if answer["ok"]:
            self.waiting = (epoch, changes)

    @rule(epoch=st.integers(0, 12))
    def commit(self, epoch: int) -> None:
        answer = self.switch.commit(epoch)
        if self.waiting and self.waiting[0] == epoch:
            assert answer["ok"]
            self.expected |= self.waiting[1]
            self.committed, self.waiting = epoch, None
        else:
            assert answer["ok"] == (epoch == self.committed and epoch > 0)

    @rule(epoch=st.integers(0, 12))
    def abort(self, epoch: int) -> None:
        assert self.switch.abort(epoch)["ok"]
        if self.waiting and self.waiting[0] == epoch:
            self.waiting = None

    @invariant()
    def runs_what_was_committed(self) -> None:
        assert self.native.chosen == self.expected
        assert self.context.epoch == self.committed


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
