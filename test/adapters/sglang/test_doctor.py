"""The doctor finds what SGLang keeps quiet about: a plugin left out or failed, hooks not put in, layers gone past."""

from __future__ import annotations

import pytest
from adapters_here import by_name
from adapters_here import report as healthy
from opswap.adapters.common.state import PluginState
from opswap.adapters.sglang import doctor
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.seams import TABLE
from suite import PROMPTS

ACTIVE = PluginState(pid=1)


#: What SGLang's ranks report besides what all engines' do.
OWN = {"layers": {"RMSNorm": {"op": 5}}, "hooks": []}


def report(rank: int = 0, **changes) -> dict:
    """What a healthy rank reports."""
    return healthy(ADAPTER, rank, **{**OWN, **changes})


def test_a_running_engine_is_healthy(engine):
    from opswap.adapters.sglang.report import of_model

    engine.generate(PROMPTS, 2)
    told = of_model(0, engine.runner.model)
    assert told["kernels"] == {} and told["hooks"] == []
    found = by_name(doctor.engine_checks(ADAPTER.state, [told]))
    assert {name: check["state"] for name, check in found.items() if check["state"] != "ok"} == {}
    assert "every installed seam was used" in found["in use"]["message"]


@pytest.mark.parametrize(
    ("changes", "name", "state", "told"),
    [
        ({"trouble": "the plugin never ran in this process"}, "plugin", "fail", "rank 1: the plugin never ran"),
        ({"hooks": ["a.b"]}, "hooks", "fail", "not put in: a.b"),
        ({"layers": {"RMSNorm": {"own": 5}}}, "layers", "warn", "5 x RMSNorm"),
        ({"version": {"build_digest": "e" * 64}}, "library", "fail", "different builds"),
        ({"plugin": {**healthy(ADAPTER)["plugin"], "installed": {}}}, "seams", "fail", "not installed: activation"),
    ],
)
def test_what_one_rank_of_two_has_wrong(changes, name, state, told):
    found = by_name(doctor.engine_checks(ACTIVE, [report(0), report(1, **changes)]))[name]
    assert (found["state"], told in found["message"]) == (state, True), found
    assert found["remedy"]
    assert by_name(doctor.engine_checks(ACTIVE, [report(0), report(1)]))[name]["state"] == "ok"


def test_a_seam_that_is_never_called_and_calls_that_no_op_takes():
    calls = {op: 0 if op == "greedy_sample" else 1 for row in TABLE.rows for op in row.ops}
    bypassed = {"Sampler calls: rows that are not greedy": 7}
    plugin = {**report()["plugin"], "bypassed": bypassed}
    found = by_name(doctor.engine_checks(ACTIVE, [report(calls=calls, plugin=plugin)]))
    assert found["in use"]["message"] == "installed but never called: sampling"
    assert "7 x Sampler calls: rows that are not greedy" in found["bypassed layers"]["message"]


@pytest.mark.parametrize(
    ("named", "state", "told"),
    [
        ("", "ok", "loads every plugin"),
        (" opswap ,opswap_cpu_rig", "ok", "opswap"),
        ("other", "fail", "leaves opswap out"),
        ("opswap,opsawp", "warn", "names no plugin: opsawp"),
    ],
)
def test_the_list_of_plugins(named, state, told, monkeypatch):
    monkeypatch.setenv("SGLANG_PLUGINS", named)
    found = doctor.environment_check()
    assert (found["state"], told in found["message"]) == (state, True), found


def test_an_installation(monkeypatch, capsys):
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert "sglang: 0.5.23, with every seam in place" in shown
    monkeypatch.setattr("opswap.adapters.common.installation.metadata.version", lambda _: "0.5.22")
    assert doctor.main([]) == 1
    assert "SGLang 0.5.22 does not work with opswap: its fused ops have no PLUGIN backend" in capsys.readouterr().out
