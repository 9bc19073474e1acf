"""A real agent over fake ranks, and a stand-in for an engine's HTTP server whose answer depends on what runs.

python answering_engine.py NAME [--guilty OP,OP] [--in-prompt] [--fails OP] [--busy]

Prints "ready"; ends when its input is closed. Each guilty op that runs as `cpu` moves the log-probabilities and one
token; --in-prompt: those of the prompt, and no token. While the one that fails runs as `cpu` the server answers 500.
--busy: ops are called though nobody asks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ipc_fakes
from opswap.ipc.agent import Agent
from opswap.ipc.engine import AgentInfo

CALLED = ("linear", "rms_norm", "rotary_embedding", "silu_and_mul", "attention", "cache", "add", "sample")
NO_REF = "cache"
#: What it says that it was asked.
PROMPT = ("What", " is")
TOKENS = ("Paris", " is", " the", " capital", " of", " France")


class Native(ipc_fakes.FakeNative):
    """Ranks whose ops were never shadowed and cannot be."""

    def __init__(self) -> None:
        super().__init__()
        del self.impls[NO_REF]["ref"]

    def shadow_status(self, _op: str) -> dict[str, Any]:
        raise ipc_fakes.FakeError("OPSWAP_E_ARGUMENT", "no shadow was started")

    def shadow_start(self, *_args: Any, **_how: Any) -> None:
        raise ipc_fakes.FakeError("OPSWAP_E_UNUSABLE", "these ranks have no shadows")


class Model:
    """What the stand-in answers."""

    def __init__(self, ranks: ipc_fakes.FakeRanks, guilty: list[str], fails: str | None, in_prompt: bool) -> None:
        self.ranks = ranks
        self.guilty = guilty
        self.in_prompt = in_prompt
        self.fails = fails

    def call_all(self) -> None:
        for native in self.ranks.natives:
            for op in CALLED:
                native.calls[op, native.chosen[op]] += 1

    def completion(self) -> dict[str, Any] | None:
        """None where log-probabilities are no numbers."""
        self.call_all()
        if self.fails is not None and "cpu" in self.ranks.active(self.fails):
            return None
        wrong = [i for i, op in enumerate(self.guilty) if "cpu" in self.ranks.active(op)]
        moved = -0.5 - sum(2.0**i for i in wrong)
        answered = -0.5 if self.in_prompt else moved
        marked = [] if self.in_prompt else wrong
        tokens = [f"{token}!" if i in marked else token for i, token in enumerate(TOKENS)]
        top = [{f"{token}{mark}": answered for token in TOKENS for mark in ("", "!")} for _ in TOKENS]
        logprobs = {
            "tokens": [*PROMPT, *tokens],
            "token_logprobs": [None, moved, *[answered] * len(tokens)],
            "top_logprobs": [None, {PROMPT[1]: moved}, *top],
        }
        return {"choices": [{"logprobs": logprobs}], "usage": {"completion_tokens": len(tokens)}}


def http_server(model: Model) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"data": [{"id": "stand-in"}]} if self.path == "/v1/models" else None, 404)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            is_right = self.path == "/v1/completions" and asked["model"] == "stand-in" and asked["temperature"] == 0
            is_right = is_right and asked["echo"]
            self.answer(model.completion() if is_right else None, 500 if is_right else 404)

        def answer(self, body: dict[str, Any] | None, otherwise: int) -> None:
            data = json.dumps(body).encode()
            self.send_response(otherwise if body is None else 200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def serve(given: argparse.Namespace) -> None:
    ipc_fakes.OPS = (*CALLED, "idle")
    ranks = ipc_fakes.FakeRanks(2)
    ranks.natives = [Native() for _ in range(2)]
    ranks.make()
    guilty = [op for op in given.guilty.split(",") if op]
    model = Model(ranks, guilty, given.fails, given.in_prompt)
    native, server = ranks.natives[0], http_server(model)
    url = f"http://127.0.0.1:{server.server_port}"
    framework = {"name": "fake", "version": "0", "model": "no model", "url": url}
    agent = Agent(given.name, ranks, AgentInfo(native.version(), native.manifest(), framework))
    await agent.start()
    print("ready", flush=True)
    steps = asyncio.create_task(_step(model, given.busy))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    steps.cancel()
    server.shutdown()
    await agent.stop()


async def _step(model: Model, is_busy: bool) -> None:
    while True:
        model.ranks.begin_step()
        if is_busy:
            model.call_all()
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--guilty", default="")
    parser.add_argument("--fails")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--in-prompt", action="store_true")
    asyncio.run(serve(parser.parse_args()))
