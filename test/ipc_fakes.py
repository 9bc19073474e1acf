"""Stand-ins for the library, a rank's context and an engine's ranks, so that faults can be planted."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import zmq
from opswap.ipc.agent import Agent
from opswap.ipc.claim import Claim
from opswap.ipc.engine import AgentInfo
from opswap.ipc.messages import PROTOCOL, REPLY, RESULTS
from opswap.ipc.rank import RankSwitch
from opswap.ipc.rank_candidates import CANDIDATES, RankCandidates
from opswap.ipc.toggles import Graphs
from opswap.ipc.watch import WATCH, RankWatch

DIGEST = "d" * 64
OPS = ("rms_norm", "silu_and_mul", "linear")
BUILT_IN = ("cpu", "ref", "sm90")
IMPLS = {"cpu": "", "ref": "", "framework": "", "sm90": "no usable CUDA device"}


class FakeError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class FakeNative:
    """The calls of the package `opswap`; `on_use` and `on_call` may raise or block to plant a fault."""

    def __init__(self, digest: str = DIGEST, versions: dict[str, int] | None = None) -> None:
        self.digest = digest
        self.plans = ""
        self.versions = dict.fromkeys(OPS, 1) | (versions or {})
        self.impls = {op: dict(IMPLS) for op in OPS}
        self.chosen = dict.fromkeys(OPS, "cpu")
        self.toggles: dict[str, str] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self.watched: dict[str, set[str]] = {"shadow": set(), "recording": set()}
        self.functions: dict[tuple[str, str], Callable[..., None]] = {}
        self.builds: list[tuple[str, str, str]] = []
        self.on_use: Callable[[str, str], None] = lambda _op, _impl: None
        self.on_call: Callable[[str, tuple[Any, ...], str | None], None] = lambda _op, _args, _impl: None

    def manifest(self) -> dict[str, Any]:
        ops = [
            {"op": op, "version": self.versions[op], "summary": "", "args": [], "toggle_class": "live"} for op in OPS
        ]
        errors = [{"name": "OPSWAP_E_SHAPE", "meaning": "shapes differ", "remedy": "compare the shapes"}]
        return {"schema": 1, "errors": errors, "ops": [{**op, "hash": "0"} for op in ops]}

    def version(self) -> dict[str, Any]:
        return {
            "abi_major": 1,
            "abi_minor": 0,
            "manifest_schema": 1,
            "pack_version": "0.1.0",
            "build_digest": self.digest,
            "cpu_isa": "avx2",
            "device_status": "no CUDA device",
            "plans": self.plans,
        }

    def op_spec(self, op: str) -> dict[str, Any]:
        return {"op": op, "args": [{"name": name} for name in ("out", "x")]}

    def register_impl(self, op: str, name: str, fn: Callable[..., None]) -> None:
        self.impls[op][name] = ""
        self.functions[op, name] = fn

    def load_build(self, path: str, name: str, build_digest: str) -> None:
        self.builds.append((path, name, build_digest))
        self.impls["rms_norm"][f"cpu@{name}"] = ""

    def dispatch_ns(self, op: str) -> float:
        return 1000.0 + len(op)

    def why(self, op: str) -> dict[str, Any]:
        impls = []
        for name, reason in self.impls[op].items():
            entry = {"name": name, "usable": not reason, "external": name not in BUILT_IN, "priority": 1}
            entry["toggle_class"] = self.toggles.get(name, "live")
            impls.append({**entry, "reason": reason} if reason else entry)
        return {"op": op, "active": self.chosen[op], "impls": impls}

    def active(self, op: str) -> str:
        return self.chosen[op]

    def use(self, op: str, impl: str) -> str:
        self.on_use(op, impl)
        previous, self.chosen[op] = self.chosen[op], impl
        return previous

    def stats(self) -> dict[str, Any]:
        times = {"timed": 0, "mean_ns": 0.0, "p50_ns": 0.0, "p99_ns": 0.0}
        zero = {"errors": 0, **times, "buckets": [], "beyond_buckets": 0}
        rows = []
        for op in OPS:
            toggles = {name: self.toggles.get(name, "live") for name in IMPLS}
            impls = [{"name": n, "toggle_class": toggles[n], "calls": self.calls[op, n], **zero} for n in IMPLS]
            rows.append({"op": op, "active": self.chosen[op], "impls": impls})
        return {"context": {}, "window_s": 30.0, "ops": rows}

    def shadow_status(self, op: str) -> dict[str, Any]:
        return {"running": op in self.watched["shadow"]}

    def record_status(self, op: str) -> dict[str, Any]:
        if op not in self.watched["recording"]:
            raise FakeError("OPSWAP_E_ARGUMENT", f"{op}: no recording was started")
        return {"running": True}

    def shadow_stop(self, op: str) -> None:
        self.watched["shadow"].remove(op)

    def record_stop(self, op: str) -> None:
        self.watched["recording"].remove(op)

    def call(self, op: str, *args: Any, impl: str | None = None, plan: bytes = b"") -> None:
        self.on_call(op, args, impl)


class FakeContext:
    def __init__(self, rank: int) -> None:
        self.rank, self.step, self.epoch = rank, 0, 0
        self.graphs = Graphs

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


class FakeRanks:
    """Ranks in this process. `fault(method, rank, answer)` may change an answer, raise, or drop it by None."""

    def __init__(self, size: int = 2) -> None:
        self.natives = [FakeNative() for _ in range(size)]
        self.contexts = [FakeContext(rank) for rank in range(size)]
        self.environment: dict[str, str] = {}
        self.make()
        self.fault: Callable[[str, int, dict[str, Any]], dict[str, Any] | None] = lambda _method, _rank, answer: answer
        self.delay: Callable[[str], float] = lambda _method: 0.0
        self.late: Callable[[str], float] = lambda _method: 0.0  # the call is done, its answers come later
        self.calls: list[str] = []
        self.isolation: dict[str, Any] | None = None
        self.silent: list[int] = []  # ranks that answer nothing at all

    def make(self) -> None:
        """The switches, from natives and contexts as they are now."""
        self.switches = [RankSwitch(n, c) for n, c in zip(self.natives, self.contexts, strict=True)]
        self.watches = [RankWatch(n, rank, self.environment) for rank, n in enumerate(self.natives)]
        self.candidates = [RankCandidates(n, rank) for rank, n in enumerate(self.natives)]

    async def start(self, engine: str, counters: Counter[str]) -> None:
        """These ranks need no name."""

    async def stop(self) -> None:
        """Nothing to end."""

    async def call(self, method: str, *args: Any) -> list[dict[str, Any]]:
        self.calls.append(method)
        if self.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay(method))
        sides = self.watches if method in WATCH else self.candidates if method in CANDIDATES else self.switches
        answers = [self.fault(method, i, getattr(side, method)(*args)) for i, side in enumerate(sides)]
        await asyncio.sleep(self.late(method))
        return [answer for answer in answers if answer is not None]

    async def commit(self, epoch: int, neutral: str | None) -> list[dict[str, Any]]:
        acks = await self.call("commit", epoch)
        outcome = "isolated" if neutral is None else "neutral"
        told = {"epoch": epoch, "outcome": outcome, "reason": neutral or ""}
        self.isolation = {**told, "requests": 0, "recomputed_ms": 0.0}
        return acks

    def begin_step(self) -> None:
        for context in self.contexts:
            context.step += 1

    def active(self, op: str) -> list[str]:
        return [native.chosen[op] for native in self.natives]


class Client:
    """A blocking client that checks each answer against messages.json."""

    def __init__(self, socket: Path, timeout_ms: int = 10_000) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, timeout_ms)
        self._socket.connect(f"ipc://{socket}")
        self._ids = itertools.count(1)

    def raw(self, frame: bytes) -> dict[str, Any]:
        self._socket.send(frame)
        return self.receive()

    def send(self, verb: str, **fields: Any) -> int:
        request_id = next(self._ids)
        self._socket.send(msgpack.packb({"id": request_id, "verb": verb, **fields}))
        return request_id

    def receive(self) -> dict[str, Any]:
        return REPLY(msgpack.unpackb(self._socket.recv()))

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        request_id = self.send(verb, **fields)
        reply = self.receive()
        assert reply["id"] == request_id
        if reply["ok"]:
            RESULTS[verb](reply["result"])
        else:
            assert reply["error"]["message"]
        return reply

    def hello(self) -> Client:
        assert self.ask("hello", protocol=PROTOCOL, client="test")["ok"]
        return self

    def close(self) -> None:
        self._socket.close()


def let_pass(agent: Agent, op: str, impl: str) -> None:
    """As if a quarantine had let a registered candidate pass."""
    quarantine = agent.engine.quarantine
    arms = {"op": op, "impl": impl, "control": "ref", "digest": quarantine.digest_of(op, impl)}
    found = {"verdict": "passed", "reason": "", "calls": 1, "buckets": [], "bit_equal": False}
    quarantine.results.append({**arms, **found, "references": [], "refused": [], "time_ms": 0, "took_ms": 0})


@contextmanager
def client(socket: Path, timeout_ms: int = 10_000) -> Iterator[Client]:
    """A client that has said hello."""
    made = Client(socket, timeout_ms)
    try:
        yield made.hello()
    finally:
        made.close()


ENGINE = {"name": "vllm", "version": "0.33.0", "model": "tiny"}


@contextmanager
def engine(ranks: FakeRanks, name: str = "e", claim: Claim | None = None, **info: Any) -> Iterator[Agent]:
    """An agent on an event loop of its own thread, as an API server would run it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def on_loop(make: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(make(), loop).result(20)

    async def create() -> Agent:
        native = ranks.natives[0]
        made = Agent(name, ranks, AgentInfo(native.version(), native.manifest(), ENGINE, **info), claim)
        await made.start()
        return made

    try:
        agent = on_loop(create)
        try:
            yield agent
        finally:
            on_loop(agent.stop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
