"""What the converter's reports and plans hold, as Python's own types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
