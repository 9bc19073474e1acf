"""What an engine's plugin does when the engine calls it: probe, register the ops, install the seams."""

from __future__ import annotations

import importlib
from importlib import metadata

from opswap.adapters.common import framework
from opswap.adapters.common.adapter import Adapter
from opswap.adapters.common.seams import InstallContext


def activate(adapter: Adapter) -> None:
    """Registers the ops and installs the seams; on a CUDA device the engine's own kernels run what has no evidence.

    Safe to call again; raises when opswap cannot work here.

    What goes wrong is noted too, because an engine may swallow it.
    """
    if adapter.state.registered:
        return
    adapter.state.begin()
    try:
        _activate(adapter)
    except Exception as error:
        adapter.state.error = f"{type(error).__name__}: {error}"
        raise


def _activate(adapter: Adapter) -> None:
    from opswap import manifest

    adapter.state.engine_version = metadata.version(adapter.package)
    context = InstallContext(on_cpu=adapter.on_cpu())
    rows = adapter.seams.choose(context, adapter.state)
    adapter.probe.require(adapter.state.engine_version, [seam.name for seam in rows])
    importlib.import_module(adapter.bindings).register()
    ops = [op["op"] for op in manifest()["ops"]]
    framework.register(adapter, ops)
    if not context.on_cpu:
        framework.prefer(ops)
    for seam in rows:
        adapter.seams.install(seam, context, adapter.state)
