"""What holds for every engine that is installed here, running: implementations agree, a switch forgets cached KV."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import opswap
import pytest
from adapters_here import INSTALLED, driver
from opswap.ipc.errors import IpcError

COUNT = 12


@pytest.fixture(params=INSTALLED)
def engine(request: pytest.FixtureRequest) -> ModuleType:
    found = driver(request.param)
    if not hasattr(found, "attach"):
        pytest.skip(f"no agent is attached to {found.ADAPTER.engine} in this process")
    return found


@pytest.fixture
def attached(engine: ModuleType) -> Iterator[Any]:
    """Its agent; what it runs is put back in the end."""
    with engine.attach("common-suite") as attached:
        yield attached
        ask(attached, "reset")


def ask(attached: Any, verb: str, **fields: Any) -> dict[str, Any]:
    return attached.run(attached.agent.ask(verb, fields))


def use(attached: Any, choice: dict[str, str], **fields: Any) -> dict[str, Any]:
    return ask(attached, "use", changes=[{"op": op, "impl": impl} for op, impl in choice.items()], **fields)


def fresh(engine: ModuleType) -> list[list[int]]:
    """Tokens, with nothing cached."""
    engine.forget()
    return engine.generate(engine.PROMPTS, COUNT)


def usable(attached: Any, engine: ModuleType) -> dict[str, set[str]]:
    """Per implementation, the ops that the engine calls and that it can run."""
    found: dict[str, set[str]] = {}
    for op in engine.USED:
        for impl in ask(attached, "why", op=op)["ranks"][0]["impls"]:
            if impl["usable"] and (op, impl["name"]) != engine.LOUD:
                found.setdefault(impl["name"], set()).add(op)
    return found


def ran(attached: Any) -> dict[str, dict[str, int]]:
    """Calls per op and implementation, of rank 0."""
    rows = ask(attached, "ops")["ranks"][0]["ops"]
    return {row["op"]: {impl["name"]: impl["calls"] for impl in row["impls"]} for row in rows}


def test_every_usable_implementation_gives_the_same_tokens_and_is_the_one_that_ran(
    engine: ModuleType, attached: Any
) -> None:
    """The framework's own among them, for each op that it has a kernel for here."""
    expected = fresh(engine)
    arms = usable(attached, engine)
    assert set(arms) >= {"ref", "cpu"}
    for impl, ops in arms.items():
        use(attached, dict.fromkeys(ops, impl))
        before = ran(attached)
        assert fresh(engine) == expected, impl
        after = ran(attached)
        for op in ops:
            moved = {name for name, calls in after[op].items() if calls > before[op].get(name, 0)}
            assert moved == {impl}, op


def test_what_the_framework_lacks_is_refused_with_the_reason_and_changes_nothing(
    engine: ModuleType, attached: Any
) -> None:
    ops = [op["op"] for op in opswap.manifest()["ops"]]
    lacking = {}
    for op in ops:
        for impl in ask(attached, "why", op=op)["ranks"][0]["impls"]:
            if impl["name"] == "framework" and not impl["usable"]:
                lacking[op] = impl["reason"]
    before = ask(attached, "status")["choice"]
    for op, reason in lacking.items():
        assert reason
        with pytest.raises(IpcError) as refused:
            use(attached, {op: "framework"})
        assert refused.value.code in ("OPSWAP_E_UNUSABLE", "OPSWAP_E_NO_IMPL")
    assert ask(attached, "status")["choice"] == before


def test_a_switch_forgets_cached_kv_and_a_neutral_one_does_not_so_this_can_fail(
    engine: ModuleType, attached: Any
) -> None:
    if engine.LOUD is None:
        pytest.skip("this engine caches no KV")
    op, loud = engine.LOUD
    plain = opswap.active(op)
    pure = {}
    for impl in (plain, loud):
        use(attached, {op: impl})
        engine.forget()
        pure[impl] = engine.generate([engine.LONG], COUNT)
    assert pure[plain] != pure[loud]
    for impl in (plain, loud, plain):
        told = use(attached, {op: impl})
        assert engine.generate([engine.LONG], COUNT) == pure[impl]
        assert told["isolation"]["outcome"] == "isolated"
    told = use(attached, {op: loud}, neutral="planted: it is not")
    assert engine.generate([engine.LONG], COUNT) != pure[loud]
    assert told["isolation"]["outcome"] == "neutral"


def test_a_running_engine_is_healthy_and_says_its_version(engine: ModuleType, attached: Any) -> None:
    engine.generate(engine.PROMPTS, COUNT)
    found = ask(attached, "doctor")
    assert [check for check in found["checks"] if check["state"] == "fail"] == []
    assert found["healthy"]
    told = {check["name"]: check for check in found["checks"]}
    package = engine.ADAPTER.package
    assert told[package]["message"].startswith(ask(attached, "status")["framework"]["version"])
    assert "every installed seam was used" in told["in use"]["message"]


def test_two_engines_of_one_name(engine: ModuleType, attached: Any) -> None:
    with pytest.raises(IpcError) as refusal:
        engine.attach("common-suite")
    assert refusal.value.code == "OPSWAP_E_ENGINE_TAKEN"


def test_the_choice_of_the_last_run_is_taken_up_again(engine: ModuleType) -> None:
    op = sorted(engine.USED)[0]
    with engine.attach("common-restore") as first:
        use(first, {op: "ref"})
    with engine.attach("common-restore") as second:
        assert second.agent.restored.outcome in ("restored", "none")
        assert ask(second, "status")["choice"][op] == "ref"
        told = ask(second, "reset", op=op)
        assert told["changes"] == [{"op": op, "impl": "cpu"}]
