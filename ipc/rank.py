"""One rank's side of a switch: prepare, then commit, or neither.

    idle --prepare ok--> prepared --commit--> idle (new choice, new epoch)
                             |--abort, or a prepare with a higher epoch--> idle (old choice)

A commit arrives on the thread that runs the model, through the engine's ordered broadcast, between two steps; all else
may arrive on another thread while a step runs, so what is prepared is changed under a lock. Nothing raises for a
refusal: the answer says `ok: False` with a code and a reason, because an exception on one rank would hide the answers
of the others. After a refusal the rank runs what it ran before.

What the toggle classes forbid is refused at prepare. Where graphs hold an op, the commit captures them anew behind the
switch; a capture that fails switches back, and the old kernels are captured again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import code_of, nearest
from .toggles import Graphs, class_of, forbidden, worst

log = logging.getLogger("opswap.rank")
Answer = dict[str, Any]


class Native(Protocol):
    """What the switch needs of the package `opswap`."""

    def manifest(self) -> dict[str, Any]: ...
    def version(self) -> dict[str, Any]: ...
    def why(self, op: str) -> dict[str, Any]: ...
    def use(self, op: str, impl: str) -> str: ...
    def stats(self) -> dict[str, Any]: ...


class Context(Protocol):
    """Where this process stands; `set_epoch` also labels the calls that follow, `graphs` tells what they replay."""

    rank: int
    step: int
    epoch: int
    graphs: Callable[[], Graphs]

    def set_epoch(self, epoch: int) -> None: ...


@dataclass
class Refusal(Exception):
    """Why a rank will not switch; never leaves this module as an exception."""

    code: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A switch that was found possible and waits for its commit, and the worst toggle class of what it changes."""

    epoch: int
    changes: dict[str, str]
    toggle_class: str


@dataclass
class RankSwitch:
    """The state machine of one rank. `native` is the package opswap, or a stand-in with the same calls."""

    native: Native
    context: Context
    _choice: dict[str, str] = field(default_factory=dict)
    _at_load: dict[str, str] = field(default_factory=dict)
    _prepared: Prepared | None = None
    _last_ack: Answer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._ops = {op["op"]: op for op in self.native.manifest()["ops"]}
        version = self.native.version()
        self._digest: str = version["build_digest"]
        self._plans: str = version.get("plans", "")

    def prepare(
        self,
        epoch: int,
        changes: Mapping[str, str],
        build_digest: str,
        op_versions: Mapping[str, int],
        plans: str | None = None,
    ) -> Answer:
        """Whether `changes` (op to implementation) could be committed here as `epoch`, with this rank's status.

        Changes nothing that runs, so it may be called while a step does. `plans` is the digest of the agent's plan
        files; an older agent tells none.
        """
        with self._lock:
            return self._prepare(epoch, changes, build_digest, op_versions, plans)

    def _prepare(
        self,
        epoch: int,
        changes: Mapping[str, str],
        build_digest: str,
        op_versions: Mapping[str, int],
        plans: str | None,
    ) -> Answer:
        try:
            self._above_current(epoch)
            self._same_build(build_digest)
            self._same_plans(plans)
            found = {op: self._possible(op, impl, op_versions) for op, impl in changes.items()}
        except Refusal as refusal:
            return {**self._no(refusal), "status": self.status()}
        previous = {op: active for op, (active, _) in found.items()}
        self._prepared = Prepared(epoch, dict(changes), worst(toggle_class for _, toggle_class in found.values()))
        return {"rank": self.context.rank, "ok": True, "epoch": epoch, "previous": previous, "status": self.status()}

    def commit(self, epoch: int) -> Answer:
        """Applies what was prepared as `epoch`, wholly or not at all; asked twice, it acknowledges twice."""
        with self._lock:
            return self._commit(epoch)

    def _commit(self, epoch: int) -> Answer:
        if self._last_ack and self._last_ack["epoch"] == epoch:
            return self._last_ack
        if self._prepared is None or self._prepared.epoch != epoch:
            waits = "nothing" if self._prepared is None else f"epoch {self._prepared.epoch}"
            return self._no(Refusal("OPSWAP_E_EPOCH", f"commit of epoch {epoch}, but {waits} is prepared"))
        changes, applied = self._prepared.changes, self._prepared.toggle_class
        self._prepared = None
        try:
            previous = self._apply(changes)
            if applied == "recapture":
                self._recapture(previous)
        except Refusal as refusal:
            return self._no(refusal)
        self._choice.update(changes)
        self._at_load = {**previous, **self._at_load}
        self.context.set_epoch(epoch)
        self._last_ack = {
            "rank": self.context.rank,
            "ok": True,
            # Calls arrive between steps, so the next one is the first that sees the new choice.
            "step": self.context.step + 1,
            "epoch": epoch,
            "previous": previous,
            "applied": applied,
        }
        return self._last_ack

    def abort(self, epoch: int) -> Answer:
        """Forgets what was prepared as `epoch`; forgetting what is not there is fine."""
        with self._lock:
            if self._prepared is not None and self._prepared.epoch == epoch:
                self._prepared = None
        return {"rank": self.context.rank, "ok": True}

    def status(self) -> Answer:
        """`RankStatus` of messages.json."""
        prepared = self._prepared
        return {
            "rank": self.context.rank,
            "ok": True,
            "step": self.context.step,
            "epoch": self.context.epoch,
            "prepared": prepared.epoch if prepared else None,
            "build_digest": self._digest,
            "plans": self._plans,
            "choice": dict(self._choice),
            "at_load": dict(self._at_load),
        }

    def ops(self) -> Answer:
        """`RankOps` of messages.json."""
        stats, graphs = self.native.stats(), self.context.graphs()
        return {
            "rank": self.context.rank,
            "ok": True,
            "step": self.context.step,
            "epoch": self.context.epoch,
            "window_s": stats["window_s"],
            "ops": [{**row, "impls": _as_here(row["op"], row["impls"], graphs)} for row in stats["ops"]],
        }

    def why(self, op: str) -> Answer:
        """`RankWhy` of messages.json, or a refusal with the nearest name when there is no such op."""
        try:
            found = self._declared(op)
        except Refusal as refusal:
            return self._no(refusal)
        told = self.native.why(op)
        impls = [{**impl, "reason": impl.get("reason", "")} for impl in told["impls"]]
        impls = _as_here(op, impls, self.context.graphs())
        answer = {"rank": self.context.rank, "ok": True, "op_version": found["version"]}
        return {**answer, "active": told["active"], "impls": impls}

    def _above_current(self, epoch: int) -> None:
        current = max(self.context.epoch, self._prepared.epoch if self._prepared else 0)
        if epoch <= current:
            raise Refusal("OPSWAP_E_EPOCH", f"expected an epoch above {current}; got {epoch}")

    def _same_build(self, digest: str) -> None:
        if digest != self._digest:
            raise Refusal("OPSWAP_E_BUILD", f"this rank runs build {self._digest[:16]}, asked for {digest[:16]}")

    def _same_plans(self, digest: str | None) -> None:
        """Ranks that plan products by different files run at different speeds, and sum in different orders."""
        if digest is None or digest == self._plans:
            return
        here, asked = (f"plan files {of[:16]}" if of else "no plan files" for of in (self._plans, digest))
        told = f"this rank read {here} at its start, asked for {asked}"
        raise Refusal("OPSWAP_E_BUILD", f"{told}; give all ranks the same files, and restart the engine")

    def _possible(self, op: str, impl: str, versions: Mapping[str, int]) -> tuple[str, str]:
        """What is active now, and the toggle class of its replacement by `impl`, which was found possible."""
        here, asked = self._declared(op)["version"], versions.get(op)
        if here != asked:
            raise Refusal("OPSWAP_E_BUILD", f"{op}: this rank has version {here} of the op, asked for {asked}")
        told = self.native.why(op)
        found = next((entry for entry in told["impls"] if entry["name"] == impl), None)
        if found is None:
            names = [entry["name"] for entry in told["impls"]]
            hint = nearest(impl, names)
            raise Refusal("OPSWAP_E_NO_IMPL", f"{op} has no implementation {impl!r}{hint}; it has {', '.join(names)}")
        if not found["usable"]:
            raise Refusal(
                "OPSWAP_E_UNUSABLE", f"{op}: {impl} cannot run here: {found.get('reason') or 'no reason given'}"
            )
        active = str(told["active"])
        return active, self._toggle(op, next(row for row in told["impls"] if row["name"] == active), found)

    def _toggle(self, op: str, now: dict[str, Any], then: dict[str, Any]) -> str:
        """The toggle class of a change, unless it is forbidden here. What runs already is no change."""
        graphs = self.context.graphs()
        if now["name"] == then["name"]:
            return "live"
        if reason := forbidden(op, now, then, graphs):
            raise Refusal("OPSWAP_E_TOGGLE", reason)
        return worst(class_of(op, row, graphs) for row in (now, then))

    def _declared(self, op: str) -> dict[str, Any]:
        if op not in self._ops:
            raise Refusal("OPSWAP_E_NO_OP", f"no op named {op!r}{nearest(op, list(self._ops))}")
        declared: dict[str, Any] = self._ops[op]
        return declared

    def _apply(self, changes: Mapping[str, str]) -> dict[str, str]:
        """All of `changes`, or none: what was switched already is switched back before the refusal goes out."""
        previous: dict[str, str] = {}
        try:
            for op, impl in changes.items():
                previous[op] = self.native.use(op, impl)
        # The library's error class is not imported here: a stand-in has its own.
        except Exception as error:
            for op, impl in previous.items():
                self.native.use(op, impl)
            log.warning("rank %d: commit refused by the library: %s", self.context.rank, error)
            raise Refusal(code_of(error, "OPSWAP_E_UNUSABLE"), f"the library refused at commit: {error}") from error
        return previous

    def _recapture(self, previous: Mapping[str, str]) -> None:
        """Captures graphs of what is active now; where that fails, of `previous` again, which becomes active."""
        try:
            self._capture()
        except Exception as error:  # whatever the engine raises, the rank must not be left with half of the graphs
            log.warning("rank %d: the new capture failed: %s", self.context.rank, error)
            for op, impl in previous.items():
                self.native.use(op, impl)
            told = f"CUDA graphs could not be captured anew: {error}"
            try:
                self._capture()
            except Exception as again:
                told += f"; nor those of the old kernels ({again}): restart the engine"
            raise Refusal("OPSWAP_E_TOGGLE", told) from error

    def _capture(self) -> None:
        graphs = self.context.graphs()
        if graphs.recapture is None:  # it could at prepare
            raise RuntimeError(graphs.why_not)
        graphs.recapture()

    def _no(self, refusal: Refusal) -> Answer:
        return {"rank": self.context.rank, "ok": False, "code": refusal.code, "reason": refusal.reason}


def _as_here(op: str, rows: list[dict[str, Any]], graphs: Graphs) -> list[dict[str, Any]]:
    """Rows of `op`'s implementations, with the toggle class that each has on this rank."""
    return [{**row, "toggle_class": class_of(op, row, graphs)} for row in rows]
