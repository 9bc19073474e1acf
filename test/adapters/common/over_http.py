"""Waits for a server of an engine's that was started, asks it, and ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

START_S = 900


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def await_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except OSError:
            said = log.read_text(errors="replace")[-4000:]
            assert server.poll() is None, f"the server ended with {server.returncode}:\n{said}"
            assert time.monotonic() < deadline, f"the server did not answer in {START_S} s:\n{said}"
            time.sleep(0.5)


def end_group(server: subprocess.Popen[bytes]) -> None:
    """Of a server that leads a process group: the whole of it, by force when it takes too long."""
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
