"""SGLang's entry point `sglang.srt.plugins`: called in every process, before a model is built.

SGLang logs what a plugin raises and serves without it. So that nobody believes to serve what is not there, a plugin
that cannot work ends its process with the reason. OPSWAP_SGLANG_STRICT=0 has SGLang serve without opswap instead, and
the doctor says so.
"""

from __future__ import annotations

import os
import sys

from opswap.adapters.common import framework
from opswap.adapters.common.plugin import activate
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.sglang.adapter import ADAPTER, STRICT
from opswap.adapters.sglang.probe import CONTROL

MANAGERS, RUNNER = "sglang.srt.managers", "sglang.srt.model_executor.model_runner"
#: Of <sysexits.h>: something in the configuration is wrong.
EXIT_CONFIGURATION = 78


def register() -> None:
    """Registers the ops with torch and installs the seams. Safe to call again."""
    if detokenizes():
        ADAPTER.state.begin()
        return
    try:
        if not ADAPTER.state.registered:
            check_process()
            activate(ADAPTER)
            _hook_the_switch()
    except Exception as error:  # whatever it is, SGLang would swallow it
        _give_up(error)


def register_framework(ops: list[str]) -> None:
    """The entry point of the group opswap.variants: SGLang's own kernels for `ops`, in a process without an engine."""
    framework.register(ADAPTER, ops)


def detokenizes() -> bool:
    """Whether this is the process that only turns tokens into text: nothing of a model's is imported there, which takes
    seconds of a processor's time."""
    loaded = sys.modules
    return f"{MANAGERS}.detokenizer_manager" in loaded and RUNNER not in loaded


def check_process() -> None:
    """Raises where the plugin cannot do its work in this process, whatever the version of SGLang."""
    lost = [why for need in CONTROL if (why := need.missing())]
    if lost:
        raise AdapterRefused(
            f"opswap: this SGLang lacks what a switch needs: {'; '.join(lost)}; {ADAPTER.probe.remedy}"
        )
    from sglang.srt.runtime_context import publish_role

    if publish_role() is not None:
        raise AdapterRefused(
            "opswap: the plugin is loaded too late, its engine is configured already and layers may be built; call "
            "sglang.srt.plugins.load_plugins() before ServerArgs and Engine are made"
        )


def _hook_the_switch() -> None:
    from opswap.adapters.sglang import control, steps

    steps.install()
    control.install()


def _give_up(error: Exception) -> None:
    """Ends the process, because SystemExit is what SGLang lets through. Half installed is never served: that is not
    what opswap's user asked for, nor SGLang's."""
    ADAPTER.state.pid = os.getpid()
    ADAPTER.state.error = f"{type(error).__name__}: {error}"
    reason = str(error) if isinstance(error, AdapterRefused | ValueError) else ADAPTER.state.error
    told = reason if reason.startswith("opswap") else f"opswap: {reason}"
    if os.environ.get(STRICT) == "0" and not ADAPTER.state.installed:
        print(f"{told}\n  SGLang serves without opswap, as {STRICT}=0 says", file=sys.stderr)
        return
    print(f"{told}\n  {STRICT}=0 serves without opswap", file=sys.stderr)
    raise SystemExit(EXIT_CONFIGURATION) from error
