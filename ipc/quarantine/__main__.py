"""The process in quarantine: reads one job from standard input, and tells each stage before it begins.

    python -m opswap.ipc.quarantine REPORT

REPORT is the number of an inherited descriptor. A line of JSON goes there for each stage, so that whoever waits knows
where this process was when it died. Standard output and standard error are the candidate's.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from opswap.lifeline import end_with_parent

from ..beside import lead_a_group
from ..errors import IpcError, code_of

MOST_JOB = 1 << 20


def _tell(report: int, process: int, stage: str, **fields: Any) -> None:
    """A candidate's fork has nothing to tell."""
    if os.getpid() != process:
        os._exit(1)
    os.write(report, (json.dumps({"stage": stage, **fields}) + "\n").encode())


def _load(job: dict[str, Any], tell: Any) -> Any:
    """The package with the candidate in it. Imports come first: they are not the candidate's memory."""
    import opswap

    from .. import reference as _reference  # noqa: F401  its imports belong before the limits
    from .limits import limit

    if job["variants"]:
        from ..sidecar import add_variants

        add_variants(job["variants"], [job["op"]])
    row = job["row"]
    if row is not None and row["kind"] == "python":
        import opswap.torch_ops
    opswap.set_threads(min(job["threads"], len(os.sched_getaffinity(0))))
    limit(job["memory_bytes"])
    tell("load")
    if row is not None:
        from ..candidate_files import load_candidate

        load_candidate(opswap, row)
    return opswap


def _run(job: dict[str, Any], report: int) -> None:
    tell = partial(_tell, report, os.getpid())
    tell("start")
    opswap = _load(job, tell)
    from opswap._opswap import fault_lines

    from .recording import read_recording
    from .trial import Fault, Trial, finite

    spec = opswap.op_spec(job["op"])
    trial = Trial(opswap, spec, job["control"], job["candidate"], job["call_bytes"], partial(fault_lines, report), tell)
    for number, name in enumerate(job["recordings"]):
        tell("recording", number=number)
        try:
            recording = read_recording(Path(name), spec, job["call_bytes"])
            tell("read", bucket=recording.bucket)
            found = trial.judge(recording)
        except Fault as fault:
            tell("fault", kind=fault.kind, what=str(fault))
            return
        except IpcError as error:
            tell("refused", code=error.code, what=error.message[:1000])
            continue
        worst = {"control_worst": finite(found.control_worst), "candidate_worst": finite(found.candidate_worst)}
        tell("judged", bit_equal=found.bit_equal, has_reference=found.control_worst is not None, **worst)
    tell("done")


def main(report: int) -> int:
    """0 where the job was carried out, whatever came of it."""
    lead_a_group()
    end_with_parent()
    process = os.getpid()
    job = json.loads(sys.stdin.buffer.read(MOST_JOB))
    try:
        _run(job, report)
    except (Exception, SystemExit) as error:
        _tell(report, process, "failed", code=code_of(error), what=f"{type(error).__name__}: {str(error)[:1000]}")
    return 0


if __name__ == "__main__":
    # Without the interpreter's end: a candidate's threads and handlers have no say any more.
    os._exit(main(int(sys.argv[1])))
