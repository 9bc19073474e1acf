"""SGLang as the common suite of adapters drives it: how it loads its plugins. Its agent lives in a server, not here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "rig"))
os.environ["SGLANG_PLUGINS"] = "opswap_cpu_rig,opswap"

from opswap.adapters.sglang import adapter

ADAPTER = adapter.ADAPTER
RIG = str(Path(__file__).parent / "rig")
#: Has SGLang load its plugins, as each of its processes does.
LOAD = f"import sys; sys.path.insert(0, {RIG!r}); from sglang.srt.plugins import load_plugins; load_plugins()"
