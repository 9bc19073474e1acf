"""The doctor finds what vLLM keeps quiet about: a swallowed plugin error, a missing plugin, ops compiled away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import opswap
import pytest
from opswap.adapters.common.probe import Need
from opswap.adapters.common.state import PluginState
from opswap.adapters.vllm import attach, doctor
from opswap.adapters.vllm.probe import PROBE
from opswap.adapters.vllm.seams import TABLE


def by_name(checks: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in checks}


def report(rank: int = 0, **changes) -> dict:
    """What a healthy rank reports."""
    healthy = {
        "rank": rank,
        "pid": 1,
        "step": 4,
        "plugin": {"installed": {row.name: row.how for row in TABLE.rows}, "skipped": {}, "bypassed": {}},
        "trouble": "",
        "version": {"build_digest": "d" * 64, "device_status": "no CUDA device"},
        "kernels": {"OpswapFp8BlockKernel": 3},
        "calls": {op: 1 for row in TABLE.rows for op in row.ops},
        "custom_ops": ["all"],
        "enabled": {"RMSNorm": 5},
        "disabled": {},
        "compiled": False,
    }
    return {**healthy, **changes}


ACTIVE = PluginState(pid=1)


def test_a_running_engine_is_healthy(eager, generate):
    generate(eager)
    with attach(eager, "test-doctor") as attached:
        found = attached.run(attached.agent.ask("doctor", {}))
    assert [check for check in found["checks"] if check["state"] == "fail"] == []
    assert found["healthy"]
    checks = by_name(found["checks"])
    assert checks["plugin"]["state"] == "ok"
    assert "every installed seam was used" in checks["in use"]["message"]


def test_custom_ops_switched_off_under_inductor(start_llm, tiny_llama, generate):
    """A user's '-RMSNorm' gives the layer to the compiler: the counters stay at zero, and the doctor says why."""
    llm = start_llm(tiny_llama, compilation_config={"custom_ops": ["none", "-RMSNorm", "-SiluAndMul"]})
    llm.collective_rpc("opswap_reset_stats")
    generate(llm)
    told = llm.collective_rpc("opswap_report")
    assert told[0]["calls"]["rms_norm"] == told[0]["calls"]["silu_and_mul"] == 0
    assert told[0]["calls"]["rotary_embedding"] > 0
    checks = by_name(doctor.engine_checks(ACTIVE, told))
    assert checks["custom ops"]["state"] == "fail"
    assert "RMSNorm, SiluAndMul; the compiler fused" in checks["custom ops"]["message"]
    assert "-RMSNorm" in checks["custom ops"]["remedy"]
    assert "activation" in checks["in use"]["message"]


SWALLOWED = """
import json, sys
from vllm.plugins import load_general_plugins
load_general_plugins()
from opswap.adapters.vllm import doctor
from opswap.adapters.vllm.adapter import ADAPTER
json.dump([doctor.plugin_check(ADAPTER.state, []), doctor.installation_checks()], sys.stdout)
"""


def run_with_entry_point(folder: Path, entry_point: str, code: str = SWALLOWED) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a process in which another distribution of the name opswap comes first."""
    info = folder / "opswap-99.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: opswap\nVersion: 99\n")
    (info / "entry_points.txt").write_text(entry_point)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_a_plugin_error_that_vllm_swallowed(tmp_path):
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('libopswap.so is from another machine')\n")
    entry_point = "[vllm.general_plugins]\nopswap = broken_plugin:register\n"
    done = run_with_entry_point(tmp_path, entry_point)
    assert done.returncode == 0, done.stderr  # vLLM went on as if nothing had happened
    plugin, installation = json.loads(done.stdout)
    assert plugin["state"] == "fail"
    assert "API server: the plugin never ran in this process" in plugin["message"]
    assert "libopswap.so is from another machine" in plugin["message"]
    assert by_name(installation)["vllm.general_plugins"]["state"] == "fail"


def test_a_plugin_that_can_never_load(tmp_path):
    plugin, _ = json.loads(run_with_entry_point(tmp_path, "").stdout)
    assert plugin["state"] == "fail"
    assert "no entry point named opswap" in plugin["message"]


def test_another_version_of_vllm_is_refused_loudly(tmp_path):
    """Not at import, which vLLM would swallow, but from the function that it calls."""
    code = """
from importlib import metadata
real = metadata.version
metadata.version = lambda name: "0.34.1" if name == "vllm" else real(name)
from vllm.plugins import load_general_plugins
load_general_plugins()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "AdapterRefused: opswap: vLLM 0.34.1 is outside the tested range (0.33.0)" in done.stderr


@pytest.mark.parametrize("version", ["0.33.0", "0.33.0+cpu", "0.33.0.post1"])
def test_builds_of_the_tested_release_are_accepted(version):
    assert PROBE.check_version(version) is None


@pytest.mark.parametrize("version", ["0.32.0", "0.34.0", "1.0", ""])
def test_other_releases_are_refused(version):
    assert "tested range" in PROBE.check_version(version)


def test_a_lost_seam_is_named():
    needs = Need("vllm.model_executor.layers.layernorm:RMSNorm.forward_native", ("self", "x", "gone"))
    assert needs.missing() == "vllm.model_executor.layers.layernorm:RMSNorm.forward_native takes no gone"
    assert "does not exist" in Need("vllm.config:no_such_thing").missing()
    assert "cannot be imported" in Need("vllm.no_such_module:x").missing()


def test_each_finding_has_its_remedy():
    other_build = report(1, version={"build_digest": "e" * 64, "device_status": ""})
    cases = {
        "library": [report(), other_build],
        "seams": [report(plugin={"installed": {}, "skipped": {}, "bypassed": {}})],
        "in use": [report(calls={})],
        "bypassed layers": [report(plugin={**report()["plugin"], "bypassed": {"RMSNorm: has no weight": 2}})],
        "plugin": [report(trouble="the plugin never ran in this process")],
    }
    for name, reports in cases.items():
        check = by_name(doctor.engine_checks(ACTIVE, reports))[name]
        assert check["state"] != "ok", name
        assert check["remedy"], name
    sound = by_name(doctor.engine_checks(ACTIVE, [report(), report(1)]))
    assert cases.keys() <= sound.keys()
    assert {check["state"] for check in sound.values()} == {"ok"}


def test_every_op_of_the_manifest_is_in_the_table_or_left_out_with_a_reason():
    offered = {op for row in TABLE.rows for op in row.ops}
    assert offered.isdisjoint(TABLE.not_offered)
    for op in (entry["op"] for entry in opswap.manifest()["ops"]):
        assert (op in offered) == (TABLE.why_not_offered(op) is None)


def test_an_unknown_seam_to_skip_is_an_error(monkeypatch):
    monkeypatch.setenv(TABLE.skip_env, "atention")
    with pytest.raises(ValueError, match="atention; the seams are norm, activation"):
        TABLE.skipped_by_user()


def test_the_installation_command(monkeypatch, capsys):
    assert doctor.main([]) == 0
    assert "0.33.0, with every seam in place" in capsys.readouterr().out
    monkeypatch.setenv("VLLM_PLUGINS", "opswapp")
    assert doctor.main(["--json"]) == 1
    assert by_name(json.loads(capsys.readouterr().out))["VLLM_PLUGINS"]["remedy"] == "add opswap to VLLM_PLUGINS"


@pytest.mark.parametrize("setting", ["", "lora", "opswapp", " opswap", "lora, opswap"])
def test_a_list_of_plugins_that_leaves_opswap_out_is_told_with_what_vllm_then_says(monkeypatch, setting):
    """vLLM compares names letter by letter, so the doctor does."""
    monkeypatch.setenv("VLLM_PLUGINS", setting)
    found = doctor.environment_check()
    assert (found["state"], found["remedy"]) == ("fail", "add opswap to VLLM_PLUGINS")
    assert repr(setting) in found["message"] and "init_cpu_memory_env" in found["message"]


@pytest.mark.parametrize(("setting", "state"), [(None, "warn"), ("opswap", "ok"), ("opswap,no_such_plugin", "warn")])
def test_a_list_of_plugins_that_lets_opswap_in(monkeypatch, setting, state):
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    if setting is not None:
        monkeypatch.setenv("VLLM_PLUGINS", setting)
    assert doctor.environment_check()["state"] == state


def test_the_readme_quotes_what_vllm_says_without_the_plugin():
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text()
    assert doctor.WITHOUT_PLUGIN in readme
