"""An engine's quarantine: runs one at a time, keeps what came of each candidate, and says what may not run yet."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import IpcError
from ..memory import Memory
from ..messages import RESULTS, FieldError
from ..state import StateFile
from ..watch import RECORDINGS
from .files import recordings_of, remove_older
from .supervisor import Ended, supervise
from .verdict import verdict

log = logging.getLogger("opswap.quarantine")
Row = dict[str, Any]
Result = dict[str, Any]
SCHEMA = 1
MOST_BYTES = 4 << 20
#: Results that are kept, the newest first.
MOST_RESULTS = 64
CALLS, TIMEOUT_S = 32, 300.0
MEMORY_BYTES, CALL_BYTES, THREADS = 8 << 30, 2 << 30, 2
#: Seconds after which recordings are removed; where it is not set, they are kept.
MOST_AGE = "OPSWAP_RECORDINGS_MOST_AGE"
BARRED = "quarantine: "


class Quarantine:
    """`row_of` says how a registered candidate is loaded, None of what the library or the engine brings itself."""

    def __init__(
        self,
        row_of: Callable[[str, str], Row | None],
        build: str,
        framework: Mapping[str, str],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._row_of = row_of
        self._build = build
        self._framework = framework
        #: What all results are true of, beside each one's own digest.
        self._of = {"build": build, **{name: framework[name] for name in ("name", "version", "model")}}
        self._environment = environment
        self._age_is_told = False
        self._running = asyncio.Lock()
        self._stop = threading.Event()
        self._process: asyncio.Future[Ended] | None = None
        self._file: StateFile | None = None
        self.results: list[Result] = []

    def load(self, path: Path) -> None:
        """Takes up what was found before. A file that cannot be trusted is as none, and so is one of another build,
        framework or model, whose calls are others: what it said is found anew."""
        self._file = StateFile(path)
        try:
            with path.open("rb") as file:
                told = json.loads(file.read(MOST_BYTES))
            if told["schema"] == SCHEMA and told["of"] == self._of:
                self.results = RESULTS["quarantine_status"](told)["results"][:MOST_RESULTS]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, RecursionError, FieldError) as error:
            log.warning("%s: earlier quarantines are not known: %s", path, error)

    def is_registered(self, op: str, impl: str) -> bool:
        """Whether it is neither of the library nor of the engine."""
        return self._row_of(op, impl) is not None

    def digest_of(self, op: str, impl: str) -> str:
        """What a result is true of: a candidate's file, the engine's own version, or the library's build."""
        row = self._row_of(op, impl)
        if row is not None:
            return str(row["digest"])
        of_engine = "{name} {version}".format_map(self._framework)
        return of_engine if impl == "framework" else self._build

    def result_of(self, op: str, impl: str, control: str | None = None) -> Result | None:
        """The last one that is true of what is there now."""
        digest = self.digest_of(op, impl)
        for each in self.results:
            if (each["op"], each["impl"], each["digest"]) == (op, impl, digest) and control in (None, each["control"]):
                return each
        return None

    def standing(self, op: str, impl: str) -> dict[str, str]:
        """`Quarantine` of messages.json: the last word on what is there now."""
        found = self.result_of(op, impl)
        if found is None:
            return {"state": "waiting" if self.is_registered(op, impl) else "none", "reason": ""}
        return {"state": found["verdict"], "reason": found["reason"]}

    def refuse(self, changes: Mapping[str, str]) -> None:
        """Raises IpcError QUARANTINE where one of `changes` is a registered candidate that has not passed."""
        for op, impl in changes.items():
            if self._row_of(op, impl) is None:
                continue
            found = self.result_of(op, impl)
            if found is None or found["verdict"] != "passed":
                why = f"failed in it: {found['reason']}" if found else "has not gone through it with this digest"
                what = f"{op}: {impl} is a registered candidate, which runs after quarantine, and {why}"
                raise IpcError("OPSWAP_E_QUARANTINE", what, f"`opswap quarantine {op} {impl}`")

    def verified(self, changes: Mapping[str, str], previous: Mapping[str, str]) -> str:
        """Why cached KV stays as good as before: each change gave the same bits as what ran. Raises IpcError
        QUARANTINE where no quarantine has seen that."""
        told = []
        for op, impl in changes.items():
            control = previous[op]
            found = self.result_of(op, impl, control)
            if impl == control:
                continue
            if found is None or found["verdict"] != "passed" or not found["bit_equal"]:
                seen = "gave other bits" if found and found["verdict"] == "passed" else "was not compared"
                what = f"{op}: nothing verifies that {impl} is neutral: in quarantine it {seen} with {control}"
                remedy = f"`opswap quarantine {op} {impl} --control {control}`; without --neutral cached KV is isolated"
                raise IpcError("OPSWAP_E_QUARANTINE", what, remedy)
            told.append(f"{op}={impl} bit-equal with {control} on {found['calls']} recorded calls")
        return f"verified: {'; '.join(told) or 'nothing changes'}"[:512]

    async def run(
        self, memory: Memory, op: str, impl: str, control: str, calls: int = CALLS, timeout_s: float = TIMEOUT_S
    ) -> Result:
        """Replays recordings of `op` on both in another process. Raises IpcError where that says nothing of `impl`."""
        if self._running.locked():
            raise IpcError("OPSWAP_E_BUSY", "quarantine: another one is under way")
        if not any((row["op"], row["impl"]) == (op, impl) for row in memory.barred()):
            memory.refuse_full("quarantine", {op: impl})
        async with self._running:
            row, digest, began = self._row_of(op, impl), self.digest_of(op, impl), time.monotonic()
            files = await asyncio.to_thread(self._recordings, op, calls)
            job = self._job(op, impl, control, row, files)
            self._process = asyncio.ensure_future(asyncio.to_thread(supervise, job, timeout_s, self._stop))
            # Whoever asked may go: the process is watched until it has ended.
            ended = await asyncio.shield(self._process)
            took = {"time_ms": int(1000 * time.time()), "took_ms": int(1000 * (time.monotonic() - began))}
            arms = {"op": op, "impl": impl, "control": control, "digest": digest}
            result: Result = {**arms, **verdict(ended, files), **took}
            await self._keep(result)
            self._bar(memory, result)
            log.info("%s: %s %s %s", op, impl, result["verdict"], result["reason"])
            return result

    async def stop(self) -> None:
        """Ends what is under way."""
        self._stop.set()
        if self._process is not None:
            await asyncio.wait({self._process})

    async def remove_old_recordings(self) -> None:
        """Where the engine's environment says how long they are kept."""
        folder, age = self._environment.get(RECORDINGS), self._environment.get(MOST_AGE)
        if age and not age.isdecimal() and not self._age_is_told:
            self._age_is_told = True
            log.warning("%s=%s is no number of seconds, so recordings are kept for ever", MOST_AGE, age)
        if folder and age and age.isdecimal():
            removed = await asyncio.to_thread(remove_older, Path(folder), float(age))
            if removed:
                log.info("removed %d recordings of more than %s s", removed, age)

    def _recordings(self, op: str, calls: int) -> list[str]:
        folder = self._environment.get(RECORDINGS)
        if not folder:
            what = "quarantine replays recorded calls, and this engine keeps none"
            raise IpcError("OPSWAP_E_QUARANTINE", what, f"start it with {RECORDINGS}=FOLDER, then record the op")
        files = recordings_of(Path(folder), op, calls)
        if not files:
            what = f"{op}: there is no recording of it in {folder}"
            raise IpcError(
                "OPSWAP_E_QUARANTINE", what, f"`opswap record start {op}`, and `record stop` after some calls"
            )
        return files

    def _job(self, op: str, impl: str, control: str, row: Row | None, files: list[str]) -> Row:
        of_engine = "framework" in (impl, control)
        return {
            **{"op": op, "control": control, "candidate": impl, "row": row},
            "variants": [self._framework["name"]] if of_engine else [],
            "recordings": files,
            **{"memory_bytes": MEMORY_BYTES, "call_bytes": CALL_BYTES, "threads": THREADS},
        }

    async def _keep(self, result: Result) -> None:
        """One per candidate, control and digest. What cannot be written is known until the engine ends."""
        same = ("op", "impl", "control", "digest")
        others = [each for each in self.results if any(each[key] != result[key] for key in same)]
        self.results = [result, *others][:MOST_RESULTS]
        if self._file is None:
            return
        try:
            text = json.dumps({"schema": SCHEMA, "of": self._of, "results": self.results})
            await asyncio.to_thread(self._file.write, text)
        except OSError as error:
            log.error("the quarantine was not saved: %s", error)

    def _bar(self, memory: Memory, result: Result) -> None:
        """What failed is refused until it passes or is reset; what passed is not barred by an earlier quarantine."""
        op, impl = result["op"], result["impl"]
        if result["verdict"] == "barred":
            memory.bar(op, impl, BARRED, result["reason"])
        else:
            memory.lift(op, impl, BARRED)
