"""The doctor finds what vLLM keeps quiet about: a swallowed plugin error, a missing plugin, ops compiled away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import vllm
from adapters_here import by_name
from adapters_here import report as healthy
from opswap.adapters.common.state import PluginState
from opswap.adapters.vllm import doctor
from opswap.adapters.vllm.adapter import ADAPTER

ACTIVE = PluginState(pid=1)
#: What vLLM's workers report besides what all engines' do.
OWN = {"custom_ops": ["all"], "enabled": {"RMSNorm": 5}, "disabled": {}, "compiled": False}


def report(rank: int = 0, **changes) -> dict:
    """What a healthy rank reports."""
    return healthy(ADAPTER, rank, **{**OWN, **changes})


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


def test_each_finding_of_its_own_has_its_remedy():
    cases = {
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


def test_an_unpacked_wheel_is_looked_at_without_importing_it(tmp_path, capsys):
    """Here vLLM's own sources, of which what is planted is lost."""
    site = Path(vllm.__file__).parents[1]
    assert doctor.main(["--tree", str(site)]) == 0
    assert "has all" in capsys.readouterr().out
    assert doctor.main(["--tree", str(tmp_path)]) == 1
    assert "has no folder vllm-VERSION.dist-info" in capsys.readouterr().out
    (tmp_path / "vllm").mkdir()
    info = next(site.glob("vllm-*.dist-info"))
    (tmp_path / info.name).symlink_to(info)
    assert doctor.main(["--tree", str(tmp_path), "--json"]) == 1
    told = by_name(json.loads(capsys.readouterr().out))
    assert told["vllm"]["state"] == "ok"
    assert "norm: vllm.model_executor.layers.layernorm is not there" in told["source"]["message"]


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
