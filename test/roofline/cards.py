"""The cards that figures are computed for, and what the memory of each gives an SM."""

from __future__ import annotations

import json

from ops.rooms import ROOT

DEVICES = json.loads((ROOT / "evidence/devices.json").read_text())
#: Clock of the SMs that bytes a clock are counted with, assumed: no card has been seen under load.
GHZ = {"H20": 1.98, "H100": 1.755, "H200": 1.755}
#: Clocks that its tensor cores take for what takes an H100's one: of FLOP a clock and SM, on the data sheets.
TENSOR_CLOCKS = {"H20": 4, "H100": 1, "H200": 1}


def delivered(name: str) -> float:
    """Bytes of memory for each clock and SM: GB/s are bytes a nanosecond."""
    return DEVICES[name]["bandwidth_gbps"] / DEVICES[name]["sms"] / GHZ[name]
