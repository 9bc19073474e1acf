"""A tiny engine: ranks in processes, each computing the same step; what is broadcast reaches them in one order.

It knows nothing of opswap. A plugin is `module:function`, called in every rank with the rank's number; it returns an
object with `received(method, args)`, `before_step()` and `after_step()`.

With `graphs` its steps replay a capture, which is played: no device is here, but what was launched while the capture
was on runs again at each step, and the code that chose it does not.
"""

from __future__ import annotations

import importlib
import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

LAYERS = 3
Activation = Any
#: Where a plugin may put another kernel.
ACTIVATIONS: dict[str, Activation] = {}


class PlayedGraph:
    """A capture of one step. `failures` captures in a row fail, as planted by a test; a failed one leaves no graph."""

    def __init__(self) -> None:
        self.kernels: list[Activation] = []
        self.is_capturing = False
        self.failures = 0

    def capture(self) -> None:
        self.kernels, self.is_capturing = [], True
        try:
            if self.failures:
                self.failures -= 1
                raise MemoryError("the played device has no memory for a graph")
            forward(np.zeros((1, 2), np.float32), lambda: None)
        finally:
            self.is_capturing = False

    def replay(self, x: np.ndarray, between_layers: Any) -> np.ndarray:
        for kernel in self.kernels:
            x = kernel(np.concatenate([x, x], axis=-1))
            between_layers()
        return x


#: Of this rank; None where its engine has none.
GRAPH: PlayedGraph | None = None


def launch(kernel: Activation, x: np.ndarray) -> np.ndarray:
    """Runs a kernel on x; a capture keeps it."""
    if GRAPH is not None and GRAPH.is_capturing:
        GRAPH.kernels.append(kernel)
    return kernel(x)


def silu_and_mul(x: np.ndarray) -> np.ndarray:
    """The engine's own kernel, on x [T, 2 I]."""
    gate, up = np.split(x.astype(np.float64), 2, axis=-1)
    return (gate / (1 + np.exp(-gate)) * up).astype(x.dtype)


def own_activation(x: np.ndarray) -> np.ndarray:
    return launch(silu_and_mul, x)


def forward(x: np.ndarray, between_layers: Any) -> np.ndarray:
    activation = ACTIVATIONS.get("silu_and_mul", own_activation)
    for _ in range(LAYERS):
        x = activation(np.concatenate([x, x], axis=-1))
        between_layers()
    return x


def rank_main(rank: int, inbox: Connection, plugin: str, graphs: bool) -> None:
    """A rank's process. Broadcasts are served between steps, and between the layers of one."""
    global GRAPH  # noqa: PLW0603 - one rank is one process
    module, _, function = plugin.partition(":")
    extension = getattr(importlib.import_module(module), function)(rank)
    if graphs:
        GRAPH = PlayedGraph()
        GRAPH.capture()
    run = GRAPH.replay if GRAPH else forward
    steps: list[tuple[np.ndarray | None, float]] = []

    def serve() -> None:
        while not steps and inbox.poll():
            kind, *message = inbox.recv()
            if kind == "broadcast":
                extension.received(*message)
            else:
                steps.append(tuple(message))

    while True:
        inbox.poll(None)  # waits for a message
        serve()
        extension.after_step()  # what came while no step ran takes effect now
        if steps:
            x, pause = steps.pop()
            if x is None:
                return
            extension.before_step()
            inbox.send(run(x, lambda pause=pause: (time.sleep(pause), serve())))
            extension.after_step()


class ToyEngine:
    """Starts `size` ranks. `broadcast` returns nothing: nobody can tell when a rank has run it."""

    def __init__(self, size: int, plugin: str, graphs: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(size)]
        self._pipes = [ours for ours, _ in pipes]
        self._order = threading.Lock()
        self._ranks = [
            context.Process(target=rank_main, args=(rank, theirs, plugin, graphs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in self._ranks:
            process.start()

    def step(self, x: np.ndarray, pause: float = 0.0) -> list[np.ndarray]:
        """One step on every rank, which sleeps `pause` seconds after each layer; what each computed."""
        self._send("step", x, pause)
        return [pipe.recv() for pipe in self._pipes]

    def broadcast(self, method: str, args: tuple[Any, ...]) -> None:
        self._send("broadcast", method, args)

    def stop(self) -> None:
        self._send("step", None, 0.0)
        for process in self._ranks:
            process.join(10)

    def _send(self, *message: Any) -> None:
        with self._order:  # one order of steps and broadcasts on all ranks
            for pipe in self._pipes:
                pipe.send(message)
