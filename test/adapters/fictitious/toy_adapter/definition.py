"""What this adapter says of itself."""

from __future__ import annotations

from pathlib import Path

from opswap.adapters.common.adapter import Adapter
from opswap.adapters.common.probe import Need, Probe

from .seams import TABLE

ADAPTER = Adapter(
    engine="Toy",
    package="toy-engine",
    seams=TABLE,
    probe=Probe(
        "Toy",
        "toy-engine",
        Path(__file__).with_name("compat.json"),
        {"activation": (Need("toy_engine:ACTIVATIONS"), Need("toy_engine:silu_and_mul", ("x",)))},
        TABLE.skip_env,
        "start it without plugins",
    ),
    framework=f"{__package__}.framework",
    on_cpu=lambda: True,
    entry_points=("toy_engine.plugins",),
    bindings=f"{__package__}.bindings",
)
