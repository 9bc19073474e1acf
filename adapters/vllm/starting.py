"""Has an API server take its engine's name before the model is loaded.

vLLM calls endpoint plugins when the engine runs, which may be minutes later: too late to refuse a second engine of one
name, and until then nobody could tell a server that loads from one that is not there. What vLLM offers earlier, general
plugins, knows neither port nor arguments. So the plugin wraps the one function of the server's entry that builds the
engine, `build_async_engine_client(args)`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from opswap.adapters.common.agent import claimed, engine_name
from opswap.adapters.vllm.adapter import ADAPTER
from opswap.ipc.errors import IpcError

#: Loaded in a process that serves, and before the plugins are.
ENTRY = "vllm.entrypoints.launchers.api_server.entry"


def claim_before_load() -> None:
    """Wraps the function in the process of an API server that will have an agent; does nothing in any other."""
    entry = sys.modules.get(ENTRY)
    build = getattr(entry, "build_async_engine_client", None)
    agent_comes = "opswap" in os.environ.get("VLLM_PLUGINS", "").split(",")
    if build is None or not agent_comes or multiprocessing.parent_process() is not None:
        return
    entry.build_async_engine_client = named(build)  # type: ignore[union-attr]


def named(build: Any) -> Any:
    """`build_async_engine_client`, under a name that is taken before it and given up behind it."""

    @asynccontextmanager
    @wraps(build)
    async def build_async_engine_client(args: Namespace, **others: Any) -> AsyncIterator[Any]:
        try:
            claim = claimed(engine_name(ADAPTER, getattr(args, "port", None)))
            claim.__enter__()
        except IpcError as error:
            # A message and no traceback: it is a user's mistake, and vLLM has done nothing yet.
            raise SystemExit(f"opswap: {error.message} [{error.code}]\n  {error.remedy}") from None
        try:
            async with build(args, **others) as client:
                yield client
        finally:
            claim.__exit__(None, None, None)

    return build_async_engine_client
