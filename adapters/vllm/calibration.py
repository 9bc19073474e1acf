"""Collects what the converter wants to know of a model's activations: the range of each linear layer's input.

`python -m opswap.adapters.vllm.calibration MODEL --text FILE --out FILE` runs vLLM offline; the worker's
opswap_calibration_* do the same in a running engine. The file's form is in docs/convert-reference.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

EDGE = 4096  # bytes of each tensor that the digest looks at
FLOOR, LARGEST = 1e-4, 448.0  # the FP8 rule for activations
VERSION = "1"


class CalibrationRefused(RuntimeError):
    """No statistics can be collected here; the message says why and what to do."""


class Collector:
    """Hooks on the linear layers of one model; `stop` takes them off and names the statistics after the weights."""

    def __init__(self, model: Any, layers: dict[str, Any]) -> None:
        self._packed = dict(getattr(model, "packed_modules_mapping", None) or {})
        self._seen: dict[str, _Range] = {name: _Range() for name in layers}
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
        """The checkpoint's names of a layer that vLLM may have fused."""
        parent, _, leaf = name.rpartition(".")
        return [f"{parent}.{part}" for part in self._packed.get(leaf, [leaf])]


class _Range:
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


def start(worker: Any) -> Collector:
    """Puts the hooks on; refuses engines whose layers they would not see."""
    from vllm.model_executor.layers.linear import LinearBase

    config = worker.vllm_config
    if getattr(config.compilation_config.mode, "name", "NONE") != "NONE":
        raise CalibrationRefused("opswap: compiled layers cannot be looked into; start vLLM with --enforce-eager")
    if config.parallel_config.world_size > 1:
        raise CalibrationRefused("opswap: calibration needs one rank; start vLLM with --tensor-parallel-size 1")
    model = worker.model_runner.model
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LinearBase)}
    return Collector(model, layers)


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
            header = data.read(size)
            digest.update(file.name.encode() + header)
            spans = (entry["data_offsets"] for name, entry in json.loads(header).items() if name != "__metadata__")
            for begin, end in sorted(spans):
                data.seek(8 + size + begin)
                digest.update(data.read(min(end - begin, EDGE)))
    return digest.hexdigest()


def folder_of(model: str) -> Path:
    """Where a model's files are: a folder, or what vLLM has fetched of a hub's name."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, local_files_only=True))


def run(model: str, text: str, out: Path, tokens: int, **options: Any) -> int:
    """Prefills the text in an engine of this process; returns the number of tokens seen."""
    from vllm import LLM, SamplingParams

    extension = "opswap.adapters.vllm.worker.WorkerExtension"
    llm = LLM(model=model, enforce_eager=True, worker_extension_cls=extension, enable_prefix_caching=False, **options)
    ids = llm.get_tokenizer().encode(text)[:tokens]
    length = llm.llm_engine.model_config.max_model_len - 1
    prompts = [{"prompt_token_ids": ids[i : i + length]} for i in range(0, len(ids), length)]
    llm.collective_rpc("opswap_calibration_start")
    llm.generate(prompts, SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False)
    return llm.collective_rpc("opswap_calibration_stop", args=(str(out),))[0]["tokens"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m opswap.adapters.vllm.calibration")
    parser.add_argument("model", help="a folder with safetensors, or what vLLM takes")
    parser.add_argument("--text", type=Path, required=True, help="a file of text like that which will be served")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--tokens", type=int, default=32768, help="at most that many are run (default 32768)")
    parser.add_argument("--max-model-len", type=int, default=2048)
    options = parser.parse_args(argv)
    try:
        seen = run(
            options.model,
            options.text.read_text("utf-8"),
            options.out,
            options.tokens,
            max_model_len=options.max_model_len,
        )
    except (CalibrationRefused, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.out}: {seen} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
