"""A second adapter needs nothing changed elsewhere: that of an engine that does not exist, in test/adapters/fictitious.

Its ranks are processes, and its broadcast returns nothing, so they answer the agent on its private socket.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house.rules import ROOT, files
from toy import FICTITIOUS, ask, counted, ran, use
from toy import plant as plant_in
from toy import toy as started

RUN = 6  # lines that two adapters may not share in a row
X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(3, 8)


# -- what it takes -----------------------------------------------------------------------------------------------


def test_the_package_takes_a_second_adapter_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert '"opswap/adapters" = "adapters"\n' in (ROOT / "pyproject.toml").read_text("utf-8")
    monkeypatch.syspath_prepend(str(ROOT / "native/packaging"))
    entry_points = import_module("adapter_entry_points").entry_points
    shutil.copytree(ROOT / "adapters/vllm", tmp_path / "vllm")
    shutil.copytree(FICTITIOUS / "toy_adapter", tmp_path / "toy")
    assert entry_points(tmp_path)["toy_engine.plugins"] == {"opswap": "opswap.adapters.toy.plugin:register"}
    assert "vllm.general_plugins" in entry_points(tmp_path) and "toy_engine.plugins" not in entry_points()
    shutil.copytree(tmp_path / "toy", tmp_path / "twin")
    with pytest.raises(ValueError, match="has opswap already"):
        entry_points(tmp_path)


def lines(path: Path) -> list[str]:
    """What counts as repeated: lines with content but imports, whatever their indentation."""
    found = (line.strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in found if line and not line.startswith(("import ", "from "))]


def repeated(ours: list[str], theirs: list[str]) -> list[str]:
    """First lines of runs of RUN lines of `ours` that `theirs` has too."""
    runs = {tuple(theirs[i : i + RUN]) for i in range(len(theirs) - RUN + 1)}
    return [ours[i] for i in range(len(ours) - RUN + 1) if tuple(ours[i : i + RUN]) in runs]


@pytest.mark.parametrize("folder", ["test/adapters/fictitious/toy_adapter", "adapters/sglang"])
def test_it_repeats_nothing_of_another_adapter(folder: str) -> None:
    own = files(f"{folder}/*.py")
    others = files("adapters/vllm/*.py")
    assert len(own) > 5 and len(others) > 10
    found = {f"{a.name}, {b.name}": r for a in own for b in others if (r := repeated(lines(a), lines(b)))}
    assert found == {}


def test_what_is_repeated_is_found() -> None:
    text = [f"line {number}" for number in range(20)]
    assert repeated(["x", *text[3 : 3 + RUN], "y"], text) == ["line 3"]
    assert repeated(text[3 : 2 + RUN], text) == []


# -- that it works -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(engine of two ranks, its attached agent)."""
    with started(tmp_path_factory.mktemp("site")) as pair:
        yield pair


def test_its_probe_refuses_what_was_not_tested(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = import_module("toy_adapter.definition").ADAPTER
    with pytest.raises(RuntimeError, match=r"Toy 2\.0 is outside the tested range \(1\.0\); install toy-engine==1\.0"):
        adapter.probe.require("2.0", ["activation"])
    monkeypatch.delattr("toy_engine.ACTIVATIONS")
    with pytest.raises(RuntimeError, match=r"activation: toy_engine:ACTIVATIONS does not exist.*SKIP=activation"):
        adapter.probe.require("1.0", ["activation"])


def test_its_user_may_leave_seams_to_the_engine(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seams = import_module("opswap.adapters.common.seams")
    table, state = import_module("toy_adapter.seams").TABLE, import_module("opswap.adapters.common.state").PluginState()
    monkeypatch.setenv("OPSWAP_TOY_SKIP", "activation")
    assert table.choose(seams.InstallContext(on_cpu=True), state) == []
    assert state.skipped == {"activation": "left to Toy by OPSWAP_TOY_SKIP"}
    monkeypatch.setenv("OPSWAP_TOY_SKIP", "activations")
    with pytest.raises(ValueError, match="names activations; the seams are activation"):
        table.skipped_by_user()


def test_what_its_framework_has_is_registered_or_absent_with_a_reason(toy: Any) -> None:
    reasons = import_module("toy_adapter.bindings").REASONS
    assert reasons["silu_and_mul"] == "the toy engine's own kernel is numpy's"
    assert reasons["linear"] == "the toy engine has no linear layers"
    assert "no seam of this adapter carries it yet" in reasons["rms_norm"]


def plant(toy: Any, rank: int, refusal: str | None = None, deafness: float = 0.0) -> None:
    plant_in(toy[0], "plant", rank, refusal, deafness)


def test_the_common_agent_switches_its_op_on_every_rank(toy: Any) -> None:
    engine, attached = toy
    own = import_module("toy_engine").forward(X, lambda: None)
    for impl in ("ref", "cpu"):
        acknowledged = use(attached, impl)
        assert [ack["rank"] for ack in acknowledged["acks"]] == [0, 1]
        assert {ack["epoch"] for ack in acknowledged["acks"]} == {acknowledged["epoch"]}
        before = counted(attached)
        for out in engine.step(X):
            np.testing.assert_allclose(out, own, rtol=1e-5, atol=1e-6)
        assert ran(attached, before) == [{impl}, {impl}]
    assert ask(attached, "doctor")["healthy"]


def test_a_switch_in_the_middle_of_steps_takes_effect_at_one_of_them_on_all_ranks(toy: Any) -> None:
    engine, attached = toy
    running = True

    def generate() -> None:
        while running:
            engine.step(X)

    thread = threading.Thread(target=generate)
    thread.start()
    try:
        for number in range(20):
            acknowledged = use(attached, ("ref", "cpu")[number % 2])
            assert len({ack["step"] for ack in acknowledged["acks"]}) == 1
    finally:
        running = False
        thread.join(20)


def test_a_rank_answers_within_a_step_and_commits_after_it(toy: Any) -> None:
    engine, attached = toy
    use(attached, "cpu")
    before, step = counted(attached), ask(attached, "status")["ranks"][0]["step"]
    thread = threading.Thread(target=engine.step, args=(X, 0.5))
    thread.start()
    while {rank["step"] for rank in ask(attached, "status")["ranks"]} != {step + 1}:
        assert thread.is_alive(), "the step ended before a rank answered within it"
    acknowledged = use(attached, "ref")
    assert {ack["step"] for ack in acknowledged["acks"]} == {step + 2}
    assert ran(attached, before) == [{"cpu"}] * 2
    thread.join(10)


def test_one_refusal_aborts_on_all(toy: Any) -> None:
    _, attached = toy
    use(attached, "cpu")
    epoch = ask(attached, "status")["epoch"]
    plant(toy, 1, refusal="rank 1 has no room")
    with pytest.raises(Exception, match="1 of 2 ranks refused, nothing changed: rank 1 has no room"):
        use(attached, "ref")
    plant(toy, 1)
    status = ask(attached, "status")
    assert [(r["epoch"], r["prepared"], r["choice"]["silu_and_mul"]) for r in status["ranks"]] == [
        (epoch, None, "cpu")
    ] * 2
    assert use(attached, "ref")["epoch"] > epoch


def test_silence_of_one_rank_aborts_on_all(toy: Any) -> None:
    _, attached = toy
    use(attached, "cpu")
    epoch = ask(attached, "status")["epoch"]
    plant(toy, 0, deafness=1.5)
    began = time.monotonic()
    with pytest.raises(Exception, match=r"prepare: not every rank answered in 0\.3 s"):
        use(attached, "ref", timeout_ms=300)
    assert time.monotonic() - began < 1.4
    status = ask(attached, "status")  # answered when the rank can hear again, after what it had not heard
    assert [(r["epoch"], r["prepared"], r["choice"]["silu_and_mul"]) for r in status["ranks"]] == [
        (epoch, None, "cpu")
    ] * 2
    assert use(attached, "ref")["epoch"] > epoch
