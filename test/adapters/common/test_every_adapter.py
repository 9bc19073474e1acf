"""What holds for every adapter, whatever its engine: its table, the versions that it takes, what its doctor finds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import opswap
import pytest
from adapters_here import ALL, INSTALLED, adapter, by_name, driver, report
from opswap.adapters.common import checks, installation
from opswap.adapters.common.adapter import Adapter
from opswap.adapters.common.compat import ACCEPT_ENV
from opswap.adapters.common.probe import AdapterRefused, Need, Probe
from opswap.adapters.common.rank import RankMethods
from opswap.adapters.common.state import PluginState

UNKNOWN = "987.6.5"
every = pytest.mark.parametrize("each", [adapter(name) for name in ALL], ids=ALL)
#: Of the engines that tests can install; what is used of another is a table, see common/contract.py.
every_probed = pytest.mark.parametrize("name", [name for name in ALL if adapter(name).probe.needs])
every_installed = pytest.mark.parametrize("name", INSTALLED)


def test_more_than_one_is_found() -> None:
    assert {"vllm", "fictitious"} <= set(ALL)
    assert len(INSTALLED) > 1


# -- the table of seams ------------------------------------------------------------------------------------------


@every
def test_every_op_of_the_manifest_is_in_the_table_or_left_out_with_a_reason(each: Adapter) -> None:
    offered = set(each.seams.ops())
    assert offered.isdisjoint(each.seams.not_offered)
    for op in (entry["op"] for entry in opswap.manifest()["ops"]):
        assert (op in offered) == (each.seams.why_not_offered(op) is None)


@every
def test_an_unknown_seam_to_skip_is_an_error_that_names_those_there_are(each: Adapter, monkeypatch) -> None:
    known = ", ".join(row.name for row in each.seams.rows)
    monkeypatch.setenv(each.seams.skip_env, "atention")
    with pytest.raises(ValueError, match=f"{each.seams.skip_env} names atention; the seams are {known}"):
        each.seams.skipped_by_user()


@every
def test_what_is_probed_is_a_seam(each: Adapter) -> None:
    assert set(each.probe.needs) <= {row.name for row in each.seams.rows}


def test_all_but_one_are_probed_name_by_name() -> None:
    assert [name for name in ALL if not any(adapter(name).probe.needs.values())] == ["trtllm"]


# -- versions ----------------------------------------------------------------------------------------------------


@every
def test_the_names_are_the_same_everywhere(each: Adapter) -> None:
    compat = each.probe.compat
    assert {each.engine, each.seams.engine, each.probe.engine, compat.engine} == {each.engine}
    assert {each.package, each.probe.package, compat.package} == {each.package}


@every
def test_each_row_is_what_the_probe_says(each: Adapter) -> None:
    states = {"tested": "ok", "expected": "warn", "broken": "fail"}
    for row in each.probe.compat.rows:
        for version in (row.release or row.version, f"{row.release or row.version}.post1"):
            verdict = each.probe.judge(version)
            assert verdict.state == states[row.status]
            assert verdict.state == "ok" or verdict.remedy


@every
@pytest.mark.parametrize("version", [UNKNOWN, "0.0.1", "", "dev"])
def test_a_version_that_was_not_looked_at_is_refused_with_versions_and_remedy(each: Adapter, version: str) -> None:
    with pytest.raises(AdapterRefused) as refused:
        each.probe.require(version, [])
    tested = ", ".join(each.probe.compat.versions("tested")) or "none"
    assert f"{each.engine} {version} is outside the tested range ({tested})" in str(refused.value)
    install = each.probe.remedy.removeprefix("pip ")
    assert f"{install}, or {each.probe.leave_out}" in str(refused.value)
    assert f"{ACCEPT_ENV}={each.package}=={version}" in str(refused.value)


@every_probed
def test_the_user_may_have_one_version_start_all_the_same(name: str, monkeypatch, caplog) -> None:
    each = adapter(name)
    monkeypatch.setenv(ACCEPT_ENV, f"other==1, {each.package}=={UNKNOWN}")
    each.probe.require(UNKNOWN, [])
    assert "start all the same" in caplog.text
    assert each.probe.judge(UNKNOWN).state == "warn"
    for accepted in ("1", each.package, f"{each.package}==987.6", UNKNOWN):
        monkeypatch.setenv(ACCEPT_ENV, accepted)
        with pytest.raises(AdapterRefused):
            each.probe.require(UNKNOWN, [])


@every_installed
def test_the_engine_that_is_here_has_every_need_and_each_lost_one_is_named(name: str) -> None:
    driver(name)  # puts the fictitious engine on the path
    probe = adapter(name).probe
    assert probe.missing_needs(list(probe.needs)) == []
    for seam, needs in probe.needs.items():
        for need in needs:
            for planted in (Need(f"{need.where}_gone"), Need(need.where.replace(":", "_gone:")), lost(need)):
                if planted is not None:
                    (sentence,) = replace(probe, needs={seam: (planted,)}).missing_needs([seam])
                    assert sentence.startswith(f"{seam}: ") and "gone" in sentence


def lost(need: Need) -> Need | None:
    """The same, with an argument that nothing takes."""
    return Need(need.where, (*need.parameters, "gone")) if need.parameters else None


@every_installed
def test_a_lost_seam_is_refused_with_the_way_to_leave_it_to_the_engine(name: str, monkeypatch) -> None:
    each = adapter(name)
    seam = next(iter(each.probe.needs))
    probe = replace(each.probe, needs={seam: (Need("json:gone"),)})
    with pytest.raises(AdapterRefused, match=rf"{seam}: json:gone does not exist; .*{each.seams.skip_env}={seam} "):
        probe.require(probe.compat.best, [seam])


REFUSED = """
from importlib import metadata
real = metadata.version
metadata.version = lambda name: {version!r} if name == {package!r} else real(name)
{load}
print("went on without opswap")
"""


@every_installed
def test_an_engine_of_another_version_ends_with_the_reason(name: str) -> None:
    """Not at import, which an engine may swallow, nor so that it would be served without opswap."""
    each = adapter(name)
    code = REFUSED.format(version=UNKNOWN, package=each.package, load=driver(name).LOAD)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert f"opswap: {each.engine} {UNKNOWN} is outside the tested range" in done.stderr


# -- the doctor --------------------------------------------------------------------------------------------------


@every
def test_each_finding_has_its_remedy(each: Adapter) -> None:
    healthy = report(each)
    plugin = healthy["plugin"]
    cases = {
        each.package: [report(each, plugin={**plugin, "engine_version": UNKNOWN})],
        "library": [healthy, report(each, 1, version={"build_digest": "e" * 64, "device_status": ""})],
        "seams": [report(each, plugin={**plugin, "installed": {}})],
        "in use": [report(each, calls={})],
    }
    for name, reports in cases.items():
        found = by_name(checks.engine_checks(each, reports))[name]
        assert found["state"] != "ok", name
        assert found["remedy"], name
    sound = by_name(checks.engine_checks(each, [healthy, report(each, 1)]))
    # A version that is expected to work is warned of.
    assert sound.pop(each.package)["state"] == each.probe.judge(plugin["engine_version"]).state != "fail"
    assert {check["state"] for check in sound.values()} == {"ok"}


@every
def test_ranks_of_two_versions_are_a_failure(each: Adapter) -> None:
    other = report(each, 1, plugin={**report(each)["plugin"], "engine_version": UNKNOWN})
    found = by_name(checks.engine_checks(each, [report(each), other]))[each.package]
    assert found["state"] == "fail" and UNKNOWN in found["message"]


@every
def test_a_seam_that_the_user_left_to_the_engine_is_a_warning(each: Adapter) -> None:
    first, *others = each.seams.rows
    plugin = {
        **report(each)["plugin"],
        "installed": {row.name: row.how for row in others},
        "skipped": {first.name: f"left to {each.engine} by {each.seams.skip_env}"},
    }
    found = by_name(checks.engine_checks(each, [report(each, plugin=plugin)]))["seams"]
    assert (found["state"], found["remedy"]) == ("warn", f"unset {each.seams.skip_env} to take them back")
    assert first.name in found["message"]


@every
def test_the_process_in_which_the_plugin_failed_is_named(each: Adapter) -> None:
    failed = PluginState(pid=1, error="RuntimeError: no")
    reports = [report(each), report(each, 1, trouble="the plugin never ran in this process")]
    assert checks.troubles("server", failed, reports) == [
        "server: the plugin failed: RuntimeError: no",
        "rank 1: the plugin never ran in this process",
    ]


@every
def test_a_rank_without_the_plugin_refuses_to_prepare(each: Adapter, monkeypatch) -> None:
    monkeypatch.setattr(each.state, "pid", 0)
    rank = type("Rank", (RankMethods,), {"opswap_adapter": each, "rank": 0})()
    assert "never ran" in rank.opswap_prepare(1, {"rms_norm": "ref"}, "d", {})["reason"]


@every_installed
def test_the_doctor_of_an_installation_says_what_version_is_there(name: str) -> None:
    driver(name)
    each = adapter(name)
    found = installation.version_check(each)
    assert found["state"] in ("ok", "warn") and found["message"].endswith("with every seam in place")
    absent = replace(each, package="no-such-engine")
    assert installation.version_check(absent)["remedy"] == each.probe.remedy


def test_a_table_of_versions_that_is_not_sound_is_a_refusal_and_no_traceback(tmp_path) -> None:
    file = tmp_path / "compat.json"
    sound = '{"engine": "E", "package": "e", "rows": [{"version": "1", "status": "STATUS", "evidence": EVIDENCE}]}'
    read = '[{"how": "read", "what": "names", "where": "x"}]'
    cases = {
        "is not there": None,
        "not JSON": "{",
        "no evidence": sound.replace("STATUS", "expected").replace("EVIDENCE", "[]"),
        "tested, but only read": sound.replace("STATUS", "tested").replace("EVIDENCE", read),
        "broken without a remedy": sound.replace("STATUS", "broken").replace("EVIDENCE", read),
        "no such status": sound.replace("STATUS", "fine").replace("EVIDENCE", read),
        "no such field": sound.replace('"status"', '"state"').replace("EVIDENCE", read),
    }
    for number, (what, text) in enumerate(cases.items()):
        path = file.with_name(f"{number}.json")
        if text is not None:
            path.write_text(text)
        with pytest.raises(AdapterRefused, match=str(path)):
            pytest.fail(f"{what}: {Probe('E', 'e', path, {}, 'S', 'leave it').judge('1')}")
