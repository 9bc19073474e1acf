"""The converter for Python: `opswap convert` in a process of its own, errors as exceptions."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from opswap._converter_process import ConvertError, OnEvent, PathLike, ask, run_to_end
from opswap._converter_types import (
    Constraint,
    ConvertedTensor,
    Perplexity,
    Plan,
    PlannedTensor,
    Quality,
    Report,
    ScaledGroup,
)

__all__ = [
    "ConvertError",
    "OnEvent",
    "PathLike",
    "Plan",
    "Report",
    "convert",
    "diff",
    "inspect",
    "merge",
    "perplexity",
    "plan",
    "read_report",
    "run",
    "run_part",
    "verify",
]
T = TypeVar("T")


def _make(kind: type[T], given: dict[str, Any], **built: Any) -> T:
    values = {field.name: given.get(field.name) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{**values, **built})


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
    run_to_end([], source, output, on_event, options)
    return read_report(output)


def run(source: PathLike, output: PathLike, *, on_event: OnEvent | None = None, **options: Any) -> Report:
    """Like `convert`, without the verification."""
    run_to_end(["run"], source, output, on_event, options)
    return read_report(output)


def run_part(
    source: PathLike, output: PathLike, index: int, count: int, *, on_event: OnEvent | None = None, **options: Any
) -> None:
    """Converts part `index`, from 1, of `count`; `merge` publishes when all are done."""
    run_to_end(["run"], source, output, on_event, {**options, "shard": f"{index}/{count}"})


def merge(source: PathLike, output: PathLike, *, on_event: OnEvent | None = None, **options: Any) -> Report:
    """Checks and publishes what parts have converted; takes their options."""
    run_to_end(["merge"], source, output, on_event, options)
    return read_report(output)


def verify(source: PathLike, output: PathLike, *, on_event: OnEvent | None = None, **options: Any) -> None:
    """Converts again in memory and compares every byte."""
    run_to_end(["verify"], source, output, on_event, options)


def plan(source: PathLike, output: PathLike | None = None, **options: Any) -> Plan:
    """What a conversion would do; writes nothing."""
    places = [source] if output is None else [source, output]
    data = ask("plan", places, options)
    return _make(
        Plan,
        data,
        tensors=[_make(PlannedTensor, one) for one in data["tensors"]],
        constraints=[_make(Constraint, one) for one in data["constraints"]],
        data=data,
    )


def perplexity(source: PathLike, output: PathLike, *, text: PathLike, tokens: int | None = None) -> Perplexity:
    """Runs both on a text, and writes what came of it into the report of the output."""
    return _make(Perplexity, ask("perplexity", [source, output], {"text": os.fspath(text), "tokens": tokens}))


def inspect(checkpoint: PathLike) -> dict[str, Any]:
    """What is in a checkpoint, by its headers."""
    return ask("inspect", [checkpoint], {})


def diff(a: PathLike, b: PathLike) -> list[dict[str, Any]]:
    """Tensors that are not the same in two checkpoints, bit for bit."""
    return ask("diff", [a, b], {})["entries"]
