"""Each command of docs/h100.md, run on an installation whose card is played; what it prints is what the page shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import opswap
import pytest
from gpu.played import ROOT, Played, install

EMULATED = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")
pytestmark = pytest.mark.skipif(not EMULATED, reason="OPSWAP_EMULATED_LIBRARY names no library; npm test builds one")
PAGE = ROOT / "docs/h100.md"
BLOCK = re.compile(r"```\n\$ ([^\n]+)\n(.*?)```", re.S)
#: What differs from run to run: times, digests, dates, seeds, folders.
VARIES = re.compile(r"\b[0-9a-f]{12}\b|[~\w-]*/\S*/|\d+(\.\d+)?(e[-+]\d+)?")


def blocks() -> list[tuple[str, str]]:
    """Commands of the page with what they print, in its order."""
    return BLOCK.findall(PAGE.read_text())


def shape(text: str) -> list[str]:
    """Lines without what varies and without the width of columns."""
    lines = [" ".join(VARIES.sub("#", line).split()) for line in text.strip().splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    package = Path(opswap.__file__).parent
    return install(tmp_path_factory.mktemp("played"), Path(EMULATED), package)


def run(played: Played, command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return played.run([sys.executable, *shlex.split(command)[1:]], **env)


@pytest.fixture(scope="module")
def printed(played: Played) -> dict[str, str]:
    """What each command of the page prints here, run once, in the page's order."""
    assert len(blocks()) >= 4
    return {command: run(played, command).stdout for command, _ in blocks()}


@pytest.mark.parametrize(("command", "shown"), blocks(), ids=[command for command, _ in blocks()])
def test_each_command_prints_what_the_page_shows(printed: dict[str, str], command: str, shown: str) -> None:
    assert shape(printed[command]) == shape(shown), printed[command]


def test_a_run_on_a_card_is_kept_and_lifts_the_bar(played: Played, printed: dict[str, str]) -> None:
    assert printed
    data = json.loads((played.evidence / "H100/rms_norm.json").read_text())
    assert data["device"]["name"] == "NVIDIA H100 fake"
    why = run(played, 'python -c \'import opswap; print(opswap.why("rms_norm")["impls"])\'')
    assert "evidence: local, NVIDIA H100 fake" in why.stdout
    assert "experimental" not in why.stdout


NONE = "no usable CUDA device: "
OLD_CARD = "device 0 is NVIDIA A100 (sm_80), the kernels are made for sm_90"
OLD_DRIVER = "the NVIDIA driver is for CUDA 12.2, the kernels need one for CUDA 13.0 or later: update the driver"
REFUSED = {
    "processes": ({"PLAYED_PROCESSES": "4711, python\n"}, "the card is busy, so no time would be of the kernel alone"),
    "load": ({"PLAYED_LOAD": "97"}, "it is at 97 % load"),
    "not sm_90": ({"OPSWAP_STUB_STATUS": NONE + OLD_CARD}, OLD_CARD + " [OPSWAP_E_CARD]"),
    "old driver": ({"OPSWAP_STUB_STATUS": NONE + OLD_DRIVER}, OLD_DRIVER),
    "read-only folder": ({"OPSWAP_EVIDENCE_DIR": "/proc/evidence"}, "what is in it is read [OPSWAP_E_IO]"),
}


@pytest.mark.parametrize(("env", "told"), REFUSED.values(), ids=REFUSED)
def test_a_card_or_folder_that_cannot_serve_is_refused(played: Played, env: dict[str, str], told: str) -> None:
    ran = run(played, "python -m opswap.evidence run rms_norm", **env)
    assert ran.returncode == 1
    assert told in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert ran.stdout == ""


def test_times_of_an_unsteady_clock_are_not_kept() -> None:
    from card.evidence.card import unsteady

    assert unsteady([1980, 1700]) is None
    assert unsteady([1980, 900]) == "speed not kept: clocks went from 1980 to 900 MHz (power or heat); run again"
