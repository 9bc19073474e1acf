"""A server with two data-parallel replicas, each an engine of its own for `opswap`: pages of 1, no overlap scheduling.

It is asked and switched as a user does: by HTTP and by the command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from checker import epochs_seen, mixed_steps
from opswap import lifeline
from over_http import START_S, await_health, end_group, free_port, post
from served import PLUGINS, SMALL, two_cores
from suite import COUNT, PROMPTS, expected  # noqa: F401  the tokens of Hugging Face

CLI = Path(__file__).parents[3] / "dist/opswap.cjs"
OP, LOUD = "silu_and_mul", "loud"
SWITCHES = 6
REPLICAS = range(2)
ARGUMENTS = {**SMALL, "dp_size": 2, "page_size": 1, "disable_overlap_schedule": True, "skip_server_warmup": True}


def words(arguments: dict[str, Any]) -> list[str]:
    """Of a command line."""
    flags = {f"--{name.replace('_', '-')}": value for name, value in arguments.items()}
    return [word for flag, value in flags.items() for word in ([flag] if value is True else [flag, str(value)])]


class Server:
    """`sglang.launch_server`, whose replicas are the engines pair-dp0 and pair-dp1."""

    names = tuple(f"pair-dp{replica}" for replica in REPLICAS)

    def __init__(self, model: Path, runtime: Path, log: str) -> None:
        self._runtime, port = runtime, free_port()
        self.url, self.log = f"http://127.0.0.1:{port}", runtime / log
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*map(str, PLUGINS.values()), *sys.path]),
            "SGLANG_PLUGINS": ",".join(["opswap", *PLUGINS]),
            "SGLANG_CPU_OMP_THREADS_BIND": two_cores(),
            "HF_HUB_OFFLINE": "1",
            "OPSWAP_ENGINE_NAME": "pair",
            "OPSWAP_LOUD_STEPS": str(runtime),
            "OPSWAP_RUNTIME_DIR": str(runtime),
            "OPSWAP_STATE_DIR": str(runtime / "state"),
        }
        served = ["sglang.launch_server", *words({"model_path": model, "port": port, **ARGUMENTS})]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, lifeline.__file__, sys.executable, "-m", *served],
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def opswap(self, *args: str) -> Any:
        """What a verb prints as JSON."""
        command = ["node", str(CLI), *args, "--json"]
        ran = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"opswap {args}: {ran.stdout}{ran.stderr}"
        return json.loads(ran.stdout)

    def tokens(self, replica: int, prompt: list[int], count: int = COUNT) -> list[int]:
        greedy = {"temperature": 0, "max_new_tokens": count, "ignore_eos": True}
        body = {"input_ids": prompt, "sampling_params": greedy, "routed_dp_rank": replica}
        told = post(f"{self.url}/generate", body)
        assert told["meta_info"]["dp_rank"] == replica
        return told["output_ids"]

    def answers(self, replica: int) -> list[list[int]]:
        return [self.tokens(replica, prompt) for prompt in PROMPTS]

    @contextmanager
    def load(self) -> Iterator[None]:
        """Requests to each replica that never stop coming."""
        running = True

        def client(replica: int) -> None:
            at = 0
            while running:
                self.tokens(replica, [1, 5, 9, 33, at % 200], 40)
                at += 1

        threads = [threading.Thread(target=client, args=(replica,)) for replica in (*REPLICAS, *REPLICAS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            running = False
            for thread in threads:
                thread.join()

    def steps(self) -> list[list[dict[str, Any]]]:
        """What each replica's steps ran."""
        for name in self.names:
            assert self.opswap("doctor", "--engine", name)["healthy"]
        return [json.loads(file.read_text()) for file in self._runtime.glob("steps-*.json")]


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    """No other engine is found here. A short path, since it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="ow") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server(tiny_llama: Path, runtime: Path) -> Iterator[Server]:
    server = Server(tiny_llama, runtime, "server.log")
    try:
        await_health(server.url, server.process, server.log)
        yield server
    finally:
        end_group(server.process)


def test_each_replica_is_an_engine_and_answers_as_hugging_face(server, expected):  # noqa: F811
    assert sorted(one["name"] for one in server.opswap("status")) == list(server.names)
    for replica in REPLICAS:
        assert server.answers(replica) == expected


def test_a_switch_reaches_the_named_replica_alone_or_all(server, expected):  # noqa: F811
    server.opswap("use", OP, LOUD, "--engine", server.names[1])
    assert server.answers(0) == expected
    assert all(one != wanted for one, wanted in zip(server.answers(1), expected, strict=True))
    server.opswap("use", OP, LOUD, "--all-engines")
    assert server.answers(0) == server.answers(1) != expected
    server.opswap("use", OP, "cpu", "--all-engines")
    assert server.answers(0) == server.answers(1) == expected


def test_no_step_of_a_replica_mixes_epochs(server):
    with server.load():
        for number in range(SWITCHES):
            server.opswap("use", OP, (LOUD, "cpu")[number % 2], "--all-engines")
    traces = server.steps()
    assert len(traces) == len(REPLICAS)
    for trace in traces:
        assert len(epochs_seen(trace)) > SWITCHES
        assert mixed_steps([trace]) == []


def test_a_name_that_is_taken_ends_the_server(server, tiny_llama, runtime):
    twin = Server(tiny_llama, runtime, "twin.log")
    try:
        assert twin.process.wait(START_S) != 0
    finally:
        twin.process.stdin.close()
    said = twin.log.read_text()
    assert "opswap: engine pair-dp" in said and "is running already" in said and "[OPSWAP_E_ENGINE_TAKEN]" in said
    assert "OPSWAP_ENGINE_NAME" in said
    assert sorted(one["name"] for one in server.opswap("status")) == list(server.names)
