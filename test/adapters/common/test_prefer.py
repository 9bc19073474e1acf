"""Which kernel runs by default on a CUDA device: the engine's own, unless a card like this one has shown ours."""

from __future__ import annotations

import opswap
import pytest
from opswap.adapters.common import framework

STATUS = "cuda: device 0 is NVIDIA H100 80GB HBM3 (sm_90, 132 SMs); driver for CUDA 13.0"
OWN = {"name": "framework", "usable": True}


def sm90(correct_on: str = "", timed_on: str = "", usable: bool = True) -> dict:
    return {"name": "sm90", "usable": usable, "correct_on": correct_on.split(), "timed_on": timed_on.split()}


@pytest.mark.parametrize(
    ("impls", "wanted"),
    [
        ([OWN], "framework"),
        ([OWN, sm90()], "framework"),
        ([OWN, sm90("H100")], "framework"),
        ([OWN, sm90("H100", "H20")], "framework"),
        ([OWN, sm90("", "H100")], "framework"),
        ([OWN, sm90("H100", "H100", usable=False)], "framework"),
        ([OWN, sm90("H20", "H20 H100")], None),
        ([{**OWN, "usable": False}, sm90()], None),
        ([sm90()], None),
    ],
)
def test_what_is_made_active(impls, wanted, monkeypatch):
    made = []
    monkeypatch.setattr(opswap, "version", lambda: {"device_status": STATUS})
    monkeypatch.setattr(opswap, "why", lambda _: {"impls": [{"name": "cpu", "usable": True}, *impls]})
    monkeypatch.setattr(opswap, "use", lambda *choice: made.append(choice))
    framework.prefer(["rms_norm"])
    assert made == ([("rms_norm", wanted)] if wanted else [])
