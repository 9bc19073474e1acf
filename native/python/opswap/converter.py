"""The converter for Python: `opswap convert` in a process of its own, errors as exceptions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from subprocess import Popen
from typing import IO, Any, TypeVar

from opswap.errors import OpswapError

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
PathLike = str | os.PathLike[str]
T = TypeVar("T")
NO_CONVERTER = "install it with npm, and Node beside it, or set OPSWAP_CLI to its dist/opswap.cjs"


class ConvertError(OpswapError):
    """A refusal of the converter; docs/errors.md lists the codes.

    Attributes:
        remedy: what to do about it.
    """

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(code, message)
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message, self.remedy)


@dataclass(frozen=True)
class Quality:
    """What quantisation did to one tensor; `sqnr_db` is None where nothing was lost."""

    sqnr_db: float | None
    max_error: float
    smallest_scale: float
    largest_scale: float
    zeros: int
    flushed_to_zero: int
    at_limit: int


@dataclass(frozen=True)
class ConvertedTensor:
    """One tensor of a report."""

    name: str
    dtype: str
    shape: list[int]
    action: str
    why: str
    output_dtype: str
    output_bytes: int
    source_digest: str
    data_digest: str
    quality: Quality | None


@dataclass(frozen=True)
class ScaledGroup:
    """Channels whose scales were divided out of `of` and multiplied into the columns of `into` (`--awq`)."""

    of: str
    into: list[str]
    alpha: float
    error_before: float
    error_after: float


@dataclass(frozen=True)
class Report:
    """conversion.json of an output; `data` is all of it."""

    output: Path
    layout: str
    quantized: int
    sqnr_db: float | None
    source_digest: str
    output_digest: str
    tensors: list[ConvertedTensor]
    scaled: list[ScaledGroup]
    data: dict[str, Any]


@dataclass(frozen=True)
class Constraint:
    """A rule of a loader that an output would break."""

    engine: str
    version: str
    tp: int | None
    problem: str
    remedy: str
    tensors: list[str]


@dataclass(frozen=True)
class PlannedTensor:
    """What a conversion would do to one tensor; `output_dtype` is None where the action is "left out"."""

    name: str
    file: str
    dtype: str
    shape: list[int]
    action: str
    why: str
    output_dtype: str | None
    output_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a conversion would do; `data` is all that `opswap convert plan --json` prints."""

    source_bytes: int
    output_bytes: int
    quantized: int
    tensors: list[PlannedTensor]
    constraints: list[Constraint]
    data: dict[str, Any]


def _make(kind: type[T], given: dict[str, Any], **made: Any) -> T:
    values = {field.name: given.get(field.name) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{**values, **made})


def _converted(data: dict[str, Any]) -> ConvertedTensor:
    quality = data["quality"]
    return _make(ConvertedTensor, data, quality=quality and _make(Quality, quality))


def read_report(output: PathLike) -> Report:
    """The report in an output."""
    folder = Path(output)
    data = json.loads((folder / "conversion.json").read_text())
    return Report(
        output=folder,
        layout=data["layout"]["id"],
        quantized=data["totals"]["quantized"],
        sqnr_db=data["totals"]["sqnr_db"],
        source_digest=data["source"]["digest"],
        output_digest=data["output"]["digest"],
        tensors=[_converted(one) for one in data["tensors"]],
        scaled=[_make(ScaledGroup, one, of=one["from"]) for one in data.get("scaled", [])],
        data=data,
    )


def convert(source: PathLike, output: PathLike, *, on_event: OnEvent | None = None, **options: Any) -> Report:
    """Plans, converts and verifies; a conversion that was cut goes on.

    Args:
        source: a folder of safetensors, or one file.
        output: the folder to make; it appears whole.
        on_event: called with each event (docs/convert-reference.md).
        options: those of the command line: `to="fp8_block128"`, `keep=["*.o_proj.weight"]`, `workers=4`, `for_="vllm"`.

    Raises:
        ConvertError: with the converter's code.
    """
    _run([], source, output, on_event, options)
    return read_report(output)


def run(source: PathLike, output: PathLike, *, on_event: OnEvent | None = None, **options: Any) -> Report:
    """Like `convert`, without the verification."""
    _run(["run"], source, output, on_event, options)
    return read_report(output)


def run_part(
    source: PathLike, output: PathLike, index: int, count: int, *, on_event: OnEvent | None = None, **options: Any
) -> None:
    """Converts part `index`, from 1, of `count`; `merge` publishes when all are done."""
    _run(["run"], source, output, on_event, {**options, "shard": f"{index}/{count}"})


def merge(source: PathLike, output: PathLike, *, on_event: OnEvent | None = None, **options: Any) -> Report:
    """Checks and publishes what parts have converted; takes their options."""
    _run(["merge"], source, output, on_event, options)
    return read_report(output)


def verify(source: PathLike, output: PathLike, *, on_event: OnEvent | None = None, **options: Any) -> None:
    """Converts again in memory and compares every byte."""
    _run(["verify"], source, output, on_event, options)


def plan(source: PathLike, output: PathLike | None = None, **options: Any) -> Plan:
    """What a conversion would do; writes nothing."""
    places = [source] if output is None else [source, output]
    data = _ask("plan", places, options)
    return _make(
        Plan,
        data,
        tensors=[_make(PlannedTensor, one) for one in data["tensors"]],
        constraints=[_make(Constraint, one) for one in data["constraints"]],
        data=data,
    )


@dataclass(frozen=True)
class Perplexity:
    """Before and after a conversion; `delta` is the mean change of log-probabilities, `moved` its mean size."""

    before: float
    after: float
    delta: float
    moved: float
    tokens: int
    window: int
    text: str
    text_sha256: str


def perplexity(source: PathLike, output: PathLike, *, text: PathLike, tokens: int | None = None) -> Perplexity:
    """Runs both on a text, and writes what came of it into the report of the output."""
    return _make(Perplexity, _ask("perplexity", [source, output], {"text": os.fspath(text), "tokens": tokens}))


def inspect(checkpoint: PathLike) -> dict[str, Any]:
    """What is in a checkpoint, by its headers."""
    return _ask("inspect", [checkpoint], {})


def diff(a: PathLike, b: PathLike) -> list[dict[str, Any]]:
    """Tensors that are not the same in two checkpoints, bit for bit."""
    return _ask("diff", [a, b], {})["entries"]


def _cli() -> list[str]:
    """The command line: OPSWAP_CLI when it is set, else on PATH, else of the checkout that this was built in."""
    chosen = os.environ.get("OPSWAP_CLI") or shutil.which("opswap")
    built = Path(__file__).resolve().parents[3] / "dist" / "opswap.cjs"
    found = chosen or (str(built) if built.exists() else None)
    if found is None:
        raise ConvertError(
            "OPSWAP_E_NO_CONVERTER",
            "the converter is the command `opswap`, which is not on PATH",
            NO_CONVERTER,
        )
    return ["node", found] if found.endswith((".js", ".cjs")) else [found]


def _flags(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        flag = f"--{name.rstrip('_').replace('_', '-')}"  # for_, since for is a word of Python
        if value is None or value is False:
            continue
        if value is True:
            yield flag
        elif isinstance(value, (list, tuple)):
            for one in value:
                yield from (flag, str(one))
        else:
            yield from (flag, str(value))


def _command(words: list[str], places: list[PathLike], options: dict[str, Any]) -> list[str]:
    return [*_cli(), "convert", *words, *_flags(options), "--json", "--", *map(os.fspath, places)]


@contextmanager
def _started(words: list[str], places: list[PathLike], options: dict[str, Any]) -> Iterator[tuple[Popen[str], IO[str]]]:
    """The command, and what it says to people. It ends with this process, whose end of the pipe to it closes."""
    command = _command(words, places, {**options, "until_eof": True})
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        try:
            process = Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True, encoding="utf-8")
        except OSError as error:
            message = f"{command[0]} cannot be started: {error.strerror}"
            raise ConvertError("OPSWAP_E_NO_CONVERTER", message, NO_CONVERTER) from error
        with process:
            try:
                yield process, said
            except BaseException:
                process.kill()
                raise


def _run(
    words: list[str], source: PathLike, output: PathLike, on_event: OnEvent | None, options: dict[str, Any]
) -> None:
    """Runs to the end."""
    failure: ConvertError | None = None
    with _started(words, [source, output], options) as (process, said):
        for line in process.stdout or []:
            event = json.loads(line)
            if "error" in event:  # before there were events: the command line was wrong
                failure = _failure(event["error"])
            elif event["event"] == "error":
                failure = _failure(event)
            elif on_event is not None:
                on_event(event)
        _check(process.wait(), failure, said)


def _ask(word: str, places: list[PathLike], options: dict[str, Any]) -> dict[str, Any]:
    with _started([word], places, options) as (process, said):
        text = process.stdout.read() if process.stdout else ""
        code = process.wait()
        answer = json.loads(text) if text.strip() else {}
        differs = word == "diff" and "entries" in answer
        _check(0 if differs else code, _failure(answer["error"]) if "error" in answer else None, said)
    return answer


def _failure(told: dict[str, Any]) -> ConvertError:
    return ConvertError(told["code"], told["message"], told["remedy"])


def _check(code: int, failure: ConvertError | None, said: IO[str]) -> None:
    if failure is not None:
        raise failure
    if code == 0:
        return
    said.seek(0)
    kind = "OPSWAP_E_USAGE" if code == 2 else "OPSWAP_E_ENDED"
    raise ConvertError(kind, said.read().strip()[-2000:] or f"the converter ended with {code}")
