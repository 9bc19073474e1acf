"""Puts the agent into the process of an HTTP server, on a thread with a loop of its own.

SGLang has no entry point for that, so hooks go round the two functions of its server: one starts the schedulers, which
may take minutes, and the other serves. The name is taken before the first, and the agent starts before the second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq
from opswap.adapters.common.agent import claimed, engine_name, url_of
from opswap.adapters.common.offline import Attached, Turnstile
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.carrier import AGENT_ENV, agent_of, agents_are_off
from opswap.ipc.errors import IpcError

#: What the agent cannot carry: an argument of the server, its value without, and why not.
NOT_CARRIED = (
    ("pp_size", 1, "--pp-size", "the stages of a pipeline run different steps at one time, so they share no boundary"),
    ("nnodes", 1, "--nnodes", "the agent reaches the ranks of its own machine"),
    ("enable_dp_attention", False, "--enable-dp-attention", "several ranks take the requests, and the RPC reaches one"),
    ("disaggregation_mode", "null", "--disaggregation-mode", "half of each request's KV is another engine's"),
)


def why_not(args: Any) -> str | None:
    """Why an engine with these server arguments can have no agent, or None."""
    if os.environ.get("SGLANG_RUST_SERVER", "0").lower() in ("1", "true"):
        return "SGLANG_RUST_SERVER is set: no Python process serves, in which the agent could live"
    for name, without, flag, reason in NOT_CARRIED:
        if getattr(args, name) != without:
            return f"{flag} is {getattr(args, name)}: {reason}"
    return None


def launch_server(original: Callable[..., Any], args: Any, *others: Any, **named: Any) -> Any:
    """Around http_server.launch_server: refuses before anything is loaded, and takes the engine's name."""
    if agents_are_off():
        return original(args, *others, **named)
    if reason := why_not(args):
        raise SystemExit(f"opswap: no live switch with this server: {reason}; {AGENT_ENV}=off serves without an agent")
    if args.dp_size > 1:  # the replicas have agents: replicas.py
        return original(args, *others, **named)
    with _named(engine_name(ADAPTER, args.port)):
        return original(args, *others, **named)


def serve(
    original: Callable[..., Any], args: Any, tokenizer: Any, template: Any, ports: Any, *others: Any, **named: Any
) -> Any:
    """Around http_server._setup_and_run_http_server, when the schedulers are ready: the agent lives as long as it."""
    if agents_are_off() or args.dp_size > 1:
        return original(args, tokenizer, template, ports, *others, **named)
    from sglang.srt.utils.network import get_zmq_socket

    socket = get_zmq_socket(zmq.Context.instance(), zmq.DEALER, ports.rpc_ipc_name, True)
    agent = agent_of(args, engine_name(ADAPTER, args.port), socket, Turnstile(), url_of(args))
    with Attached(agent, lambda: None, lambda: None):
        return original(args, tokenizer, template, ports, *others, **named)


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        claim = claimed(name)
        claim.__enter__()
    except IpcError as error:  # a message and no traceback: it is a user's mistake, and SGLang has done nothing yet
        raise SystemExit(f"opswap: {error.message} [{error.code}]\n  {error.remedy}") from None
    try:
        yield
    finally:
        claim.__exit__(None, None, None)
