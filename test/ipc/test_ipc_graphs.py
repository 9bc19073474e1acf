"""Switches under CUDA graphs, on the engine of test/adapters/fictitious, whose graphs are played: a step replays the
kernels of its capture, so a switch without a new capture would be acknowledged and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from opswap.ipc.errors import IpcError
from toy import ask, counted, plant, ran, toy, use

X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(3, 8)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with toy(tmp_path_factory.mktemp("site"), graphs=True) as pair:
        yield pair


@pytest.fixture
def from_cpu(graphs: Any) -> Any:
    """The engine and its agent, at `cpu`, nothing planted."""
    for rank in (0, 1):
        plant(graphs[0], "plant_graphs", rank, True, 0)
    use(graphs[1], "cpu")
    return graphs


def replayed(engine: Any, attached: Any) -> list[set[str]]:
    """Implementations that each rank runs in one step, which computes what it should."""
    before = counted(attached)
    own = import_module("toy_engine").forward(X, lambda: None)
    for out in engine.step(X):
        np.testing.assert_allclose(out, own, rtol=1e-5, atol=1e-6)
    return ran(attached, before)


def refusal(attached: Any, impl: str) -> IpcError:
    with pytest.raises(IpcError) as refused:
        use(attached, impl)
    return refused.value


def stands(attached: Any) -> list[tuple[int, str]]:
    ranks = ask(attached, "status")["ranks"]
    return [(rank["prepared"], rank["choice"]["silu_and_mul"]) for rank in ranks]


@pytest.mark.usefixtures("graphs")
def test_a_graph_replays_what_it_captured_whatever_is_active() -> None:
    """That the play is one: without the rank's own part, the old kernel would run on."""
    import opswap

    module = import_module("toy_engine")
    module.GRAPH = module.PlayedGraph()
    try:
        import_module("toy_adapter.layers.activation").install(None)
        opswap.use("silu_and_mul", "cpu")
        module.GRAPH.capture()
        opswap.use("silu_and_mul", "ref")
        opswap.reset_stats()
        module.GRAPH.replay(X, lambda: None)
        row = next(row for row in opswap.stats()["ops"] if row["op"] == "silu_and_mul")
        assert {impl["name"]: impl["calls"] for impl in row["impls"] if impl["calls"]} == {"cpu": module.LAYERS}
    finally:
        module.GRAPH = None
        module.ACTIVATIONS.clear()


def test_a_captured_op_is_captured_anew_and_runs_at_the_next_step_on_all_ranks(from_cpu: Any) -> None:
    engine, attached = from_cpu
    assert replayed(engine, attached) == [{"cpu"}] * 2
    switched = use(attached, "ref")
    assert [ack["applied"] for ack in switched["acks"]] == ["recapture"] * 2
    assert replayed(engine, attached) == [{"ref"}] * 2


def test_its_class_is_shown(from_cpu: Any) -> None:
    _, attached = from_cpu
    why = ask(attached, "why", op="silu_and_mul")["ranks"]
    assert {impl["toggle_class"] for rank in why for impl in rank["impls"]} == {"recapture"}
    others = ask(attached, "why", op="rms_norm")["ranks"]
    assert {impl["toggle_class"] for rank in others for impl in rank["impls"]} == {"live"}


def test_ranks_that_cannot_capture_anew_refuse_and_replay_the_old_kernel(from_cpu: Any) -> None:
    engine, attached = from_cpu
    for rank in (0, 1):
        plant(engine, "plant_graphs", rank, False, 0)
    refused = refusal(attached, "ref")
    assert refused.code == "OPSWAP_E_TOGGLE"
    assert refused.message.endswith("replay its kernels (toggle class recapture), and this rank was told not to")
    assert stands(attached) == [(None, "cpu")] * 2
    assert replayed(engine, attached) == [{"cpu"}] * 2


def test_one_rank_that_cannot_keeps_all_at_the_old_kernel(from_cpu: Any) -> None:
    engine, attached = from_cpu
    plant(engine, "plant_graphs", 1, False, 0)
    refused = refusal(attached, "ref")
    assert "1 of 2 ranks refused, nothing changed" in refused.message
    assert [(row["rank"], row["code"]) for row in refused.ranks] == [(1, "OPSWAP_E_TOGGLE")]
    assert stands(attached) == [(None, "cpu")] * 2
    assert replayed(engine, attached) == [{"cpu"}] * 2


def test_captures_that_fail_on_all_ranks_change_nothing(from_cpu: Any) -> None:
    engine, attached = from_cpu
    for rank in (0, 1):
        plant(engine, "plant_graphs", rank, True, 1)
    refused = refusal(attached, "ref")
    assert refused.code == "OPSWAP_E_TOGGLE"
    assert "could not be captured anew: the played device has no memory" in refused.message
    assert replayed(engine, attached) == [{"cpu"}] * 2


def test_a_capture_that_fails_on_one_rank_takes_all_back(from_cpu: Any) -> None:
    engine, attached = from_cpu
    plant(engine, "plant_graphs", 1, True, 1)
    refused = refusal(attached, "ref")
    assert refused.code == "OPSWAP_E_DIVERGED"
    assert "all ranks were switched back (silu_and_mul to cpu)" in refused.message
    assert replayed(engine, attached) == [{"cpu"}] * 2
    assert use(attached, "ref")["acks"][1]["applied"] == "recapture"
    assert replayed(engine, attached) == [{"ref"}] * 2
