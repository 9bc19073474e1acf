"""The converter's process: its command line, its events, and its refusals as exceptions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import IO, Any

from opswap.errors import OpswapError

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
PathLike = str | os.PathLike[str]
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


def run_to_end(
    words: list[str], source: PathLike, output: PathLike, on_event: OnEvent | None, options: dict[str, Any]
) -> None:
    """Runs a command that tells of events, to its end."""
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


def ask(word: str, places: list[PathLike], options: dict[str, Any]) -> dict[str, Any]:
    """The answer of a command that prints one."""
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
