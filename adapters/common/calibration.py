"""Measures each linear layer's input channel by channel, and writes the statistics for the converter; also the command.

An adapter says which layers those are and runs the text. The file's form is in docs/convert-reference.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EDGE = 4096  # bytes of each tensor that the digest looks at
FLOOR, LARGEST = 1e-4, 448.0  # the FP8 rule for activations
VERSION = "1"
#: Prefills a text in an engine: (model, text, out, tokens, longest prompt) -> tokens seen.
Run = Callable[[str, str, Path, int, int], int]


class CalibrationRefused(RuntimeError):
    """No statistics can be collected here; the message says why and what to do."""


class RangeCollector:
    """Hooks on the linear layers of one model; `stop` takes them off and names the statistics after the weights."""

    def __init__(self, model: Any, layers: dict[str, Any]) -> None:
        self._packed = dict(getattr(model, "packed_modules_mapping", None) or {})
        self._seen: dict[str, InputRange] = {name: InputRange() for name in layers}
        self._hooks = [layer.register_forward_pre_hook(self._seen[name]) for name, layer in layers.items()]

    def stop(self) -> tuple[dict[str, Any], int]:
        """Statistics by tensor name, and the number of tokens."""
        for hook in self._hooks:
            hook.remove()
        silent = [name for name, seen in self._seen.items() if seen.tokens == 0]
        if silent:
            raise CalibrationRefused(
                f"opswap: no input reached {silent[0]} and {len(silent) - 1} other linear layers; send requests "
                "between start and stop"
            )
        tensors = {}
        for name, seen in self._seen.items():
            for part in self._parts(name):
                tensors |= seen.tensors(part)
        return tensors, max(seen.tokens for seen in self._seen.values())

    def _parts(self, name: str) -> list[str]:
        """The checkpoint's names of a layer that the engine may have fused."""
        parent, _, leaf = name.rpartition(".")
        return [f"{parent}.{part}" for part in self._packed.get(leaf, [leaf])]


class InputRange:
    """Of one layer's input, channel by channel; called as its forward pre-hook."""

    def __init__(self) -> None:
        self.tokens = 0
        self._most: Any = None
        self._squares: Any = None

    def __call__(self, _layer: Any, args: tuple[Any, ...]) -> None:
        import torch

        x = args[0].detach().reshape(-1, args[0].shape[-1]).float()
        if x.shape[0] == 0:
            return
        most, squares = x.abs().amax(0), x.double().square().sum(0)
        self._most = most if self._most is None else torch.maximum(self._most, most)
        self._squares = squares if self._squares is None else self._squares + squares
        self.tokens += x.shape[0]

    def tensors(self, layer: str) -> dict[str, Any]:
        import torch

        most = self._most.cpu().clone()  # safetensors refuses one storage under several names
        if not torch.isfinite(most).all():
            raise CalibrationRefused(f"opswap: the input of {layer} was NaN or infinite; nothing is written")
        mean = (self._squares / self.tokens).float().cpu()
        scale = most.max().clamp(min=FLOOR).reshape(1) / LARGEST
        return {f"{layer}.weight.absmax": most, f"{layer}.weight.mean_square": mean, f"{layer}.input_scale": scale}


class Recording:
    """The collection that a process makes now; one at a time."""

    def __init__(self) -> None:
        self._collector: RangeCollector | None = None

    def start(self, make: Callable[[], RangeCollector]) -> None:
        """From here on the inputs of linear layers are measured."""
        if self._collector is not None:
            raise CalibrationRefused("opswap: this engine is already collecting; stop that first")
        self._collector = make()

    def stop(self, out: Path, model: Path) -> dict[str, int]:
        """Writes what was measured since start, for the model in that folder."""
        if self._collector is None:
            raise CalibrationRefused("opswap: this engine is not collecting; call opswap_calibration_start")
        collector, self._collector = self._collector, None
        tensors, tokens = collector.stop()
        write(out, tensors, tokens, model_digest(model))
        return {"tokens": tokens, "tensors": len(tensors)}


def write(out: Path, tensors: dict[str, Any], tokens: int, model: str) -> None:
    """Appears whole, by rename."""
    from safetensors.torch import save_file

    about = {"format": "opswap.calibration", "version": VERSION, "tokens": str(tokens), "model": model}
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save_file(tensors, scratch, metadata=about)
        scratch.chmod(0o644)
        scratch.rename(out)
    finally:
        scratch.unlink(missing_ok=True)


def model_digest(folder: Path) -> str:
    """Tells one checkpoint from another without reading all of it (docs/convert-reference.md)."""
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CalibrationRefused(f"opswap: {folder} has no safetensors files, which the statistics are to belong to")
    for file in files:
        with file.open("rb") as data:
            size = int.from_bytes(data.read(8), "little")
            if size > file.stat().st_size - 8:
                raise CalibrationRefused(f"opswap: {file} is cut: its header is said to have {size} bytes")
            header = data.read(size)
            digest.update(file.name.encode() + header)
            spans = (entry["data_offsets"] for name, entry in json.loads(header).items() if name != "__metadata__")
            for begin, end in sorted(spans):
                data.seek(8 + size + begin)
                digest.update(data.read(min(end - begin, EDGE)))
    return digest.hexdigest()


def folder_of(model: str) -> Path:
    """Where a model's files are: a folder, or what the engine has fetched of a hub's name."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, local_files_only=True))


def main(run: Run, engine: str, program: str, argv: list[str] | None = None) -> int:
    """The command `python -m PROGRAM MODEL --text FILE --out FILE`."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("model", help=f"a folder with safetensors, or what {engine} takes")
    parser.add_argument("--text", type=Path, required=True, help="a file of text like that which will be served")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--tokens", type=int, default=32768, help="at most that many are run (default 32768)")
    parser.add_argument("--max-model-len", type=int, default=2048)
    options = parser.parse_args(argv)
    try:
        text = options.text.read_text("utf-8")
        seen = run(options.model, text, options.out, options.tokens, options.max_model_len)
    except (CalibrationRefused, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.out}: {seen} tokens")
    return 0
