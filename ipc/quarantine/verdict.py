"""What the lines and the end of a process in quarantine say of the candidate."""

from __future__ import annotations

import signal
from typing import Any

from ..errors import IpcError
from .supervisor import Ended, Line

LONGER = "give it a longer --timeout, or fewer --calls"
SEE = "see the message; nothing is said of the candidate"
MOST_REFUSED, MOST_BUCKETS, MOST_REFERENCES = 16, 64, 256
#: Stages in which the candidate's code, or memory that it may have spoiled, is at work.
ITS_OWN = ("load", "touched", "compare")
#: Of `failed` while it is loaded: the file is not the one that was registered, which says nothing of its code.
NOT_ITS_FAULT = ("OPSWAP_E_CANDIDATE", "OPSWAP_E_SIGNATURE", "OPSWAP_E_MISSING", "OPSWAP_E_BUILD")
Result = dict[str, Any]


def verdict(ended: Ended, recordings: list[str]) -> Result:
    """The fields of `Quarantined` that follow from the run, of messages.json.

    Raises IpcError where it says nothing of the candidate: no recording could be used, or control is at fault.
    """
    if ended.why == "stopped":
        raise IpcError("OPSWAP_E_QUARANTINE", "quarantine was stopped with the engine", "ask again")
    told = _told(ended.lines, recordings)
    reason = _reason(ended, told)
    if not reason and not told["calls"]:
        raise _unusable(told["refused"])
    where = f", at {told['bucket']} ({told['file']})" if told["bucket"] and reason else ""
    kept = {key: told[key] for key in ("calls", "buckets", "references", "refused")}
    equal = told["equal"] and not reason
    return {"verdict": "barred" if reason else "passed", "reason": reason + where, "bit_equal": equal, **kept}


def _told(lines: list[Line], recordings: list[str]) -> Result:
    told: Result = {"calls": 0, "buckets": [], "references": [], "refused": [], "equal": True}
    told |= {"file": "", "bucket": "", "last": {}, "before": {}, "touched": ""}
    for line in lines:
        stage = line["stage"]
        if stage == "recording":
            told |= {"file": _file(recordings, line.get("number")), "bucket": "", "touched": ""}
        elif stage == "read":
            told["bucket"] = str(line.get("bucket"))[:256]
        elif stage == "touched":
            told["touched"] = str(line.get("where"))[:200]
            continue
        elif stage == "refused":
            _keep(told["refused"], MOST_REFUSED, {"file": told["file"], "reason": str(line.get("what"))[:1000]})
            told["code"] = line.get("code")
        elif stage == "judged":
            _judged(told, line)
        told |= {"before": told["last"], "last": line}
    return told


def _judged(told: Result, line: Line) -> None:
    told["calls"] += 1
    told["equal"] = told["equal"] and line.get("bit_equal") is True
    if told["bucket"] not in told["buckets"]:
        _keep(told["buckets"], MOST_BUCKETS, told["bucket"])
    if line.get("has_reference") is True:
        worst = {key: _number(line.get(key)) for key in ("control_worst", "candidate_worst")}
        _keep(told["references"], MOST_REFERENCES, {"bucket": told["bucket"], **worst})


def _keep(rows: list[Any], most: int, row: Any) -> None:
    if len(rows) < most:
        rows.append(row)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and value >= 0 else None


def _file(recordings: list[str], number: Any) -> str:
    is_one = type(number) is int and 0 <= number < len(recordings)
    return recordings[number].rpartition("/")[2] if is_one else "a recording"


def _reason(ended: Ended, told: Result) -> str:
    """Why it is barred; empty where it is not. Raises IpcError where it was not the candidate's doing."""
    last = told["last"]
    stage = last.get("stage")
    if stage == "done":
        return ""
    if stage == "fault":
        return str(last.get("what"))[:1000]
    if ended.why == "time":
        raise IpcError(
            "OPSWAP_E_TIMEOUT", f"quarantine: {told['calls']} calls were made when the time was over", LONGER
        )
    if stage == "failed":
        return _failed(told["before"], last)
    how, doing = _how(ended, told["touched"]) + _tail(ended), _doing(last)
    if not doing:
        raise IpcError("OPSWAP_E_QUARANTINE", f"quarantine: where the candidate had no part, its process {how}", SEE)
    return f"{how} {doing}"


def _failed(before: Line, last: Line) -> str:
    code, what = str(last.get("code")), str(last.get("what"))[:1000]
    if before.get("stage") == "load" and code not in NOT_ITS_FAULT:
        return f"could not be loaded: {what}"
    raise IpcError(code if code.startswith("OPSWAP_E_") else "OPSWAP_E_QUARANTINE", f"quarantine: {what}", SEE)


def _doing(last: Line) -> str:
    """What the candidate was at; empty where it was not its turn."""
    if last.get("stage") == "load":
        return "while it was loaded"
    if last.get("stage") == "call" and last.get("arm") == "candidate":
        return "in a call"
    return "after a call" if last.get("stage") in ITS_OWN else ""


def _how(ended: Ended, touched: str) -> str:
    if ended.why:
        return {
            "hung": f"hung for {ended.seconds:.0f} s",
            "memory": "took more memory than it is given",
            "flood": "wrote over the line on which it reports",
        }[ended.why]
    if ended.signal is not None:
        name = signal.Signals(ended.signal).name if ended.signal in set(signal.Signals) else str(ended.signal)
        return f"crashed by {name}" + (f", {touched}," if touched else "")
    return f"ended its process with code {ended.code}"


def _tail(ended: Ended) -> str:
    """The last line that it printed: what an allocator, an assertion or a library says before it ends the process."""
    line = ended.printed.rpartition("\n")[2].strip()[:300]
    return f"; it printed: {line}" if line and not ended.why else ""


def _unusable(refused: list[Line]) -> IpcError:
    if not refused:
        return IpcError("OPSWAP_E_QUARANTINE", "quarantine: there was no recording to replay")
    told = "; ".join(f"{row['file']}: {row['reason']}" for row in refused[:3])
    return IpcError("OPSWAP_E_TENSOR_FILE", f"quarantine: no recording could be used: {told}", "record the op again")
