"""What this adapter says of itself to adapters/common."""

from __future__ import annotations

from opswap.adapters.common.adapter import Adapter
from opswap.adapters.sglang.probe import PROBE
from opswap.adapters.sglang.seams import TABLE

PLUGINS = "sglang.srt.plugins"
#: By 0 a user has SGLang serve without opswap where opswap cannot work.
STRICT = "OPSWAP_SGLANG_STRICT"


def on_cpu() -> bool:
    """Whether SGLang finds no CUDA device here; it asks torch too."""
    from sglang.srt.utils import is_cuda

    return not is_cuda()


ADAPTER = Adapter(
    engine="SGLang",
    package="sglang",
    seams=TABLE,
    probe=PROBE,
    framework="opswap.adapters.sglang.framework",
    on_cpu=on_cpu,
    entry_points=(PLUGINS,),
)
