"""Tiny checkpoints with loud channels, and statistics of their inputs, for scales from activations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from convert.checkpoint import read, write

BF16 = ml_dtypes.bfloat16
LAYER = "model.layers.0."
CONFIG = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64}


def loud(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Mean squares of inputs of which a few are far louder than the rest; one channel that is never used."""
    squares = rng.uniform(0.1, 2, channels)
    squares[rng.integers(0, channels, 5)] *= 3e3
    squares[7] = 0
    return squares.astype(np.float32)


def dense(rng: np.random.Generator, dtype: np.dtype = BF16, heads: int = 2) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * 0.2).astype(dtype)

    shapes = {"q_proj": (256, 256), "k_proj": (64 * heads, 256), "v_proj": (64 * heads, 256), "o_proj": (256, 256)}
    made = {f"{LAYER}self_attn.{name}.weight": matrix(*shape) for name, shape in shapes.items()}
    for name, shape in {"gate_proj": (384, 256), "up_proj": (384, 256), "down_proj": (256, 384)}.items():
        made[f"{LAYER}mlp.{name}.weight"] = matrix(*shape)
    return made


def norms(rng: np.random.Generator, names: list[str], dtype: np.dtype = BF16) -> dict[str, np.ndarray]:
    made = {}
    for name in names:
        weight = rng.uniform(0.5, 1.5, 256)
        weight[11] = 0  # a channel that is switched off
        made[f"{LAYER}{name}.weight"] = weight.astype(dtype)
    return made


def statistics(rng: np.random.Generator, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Layers that engines fuse have the same."""
    shared: dict[str, np.ndarray] = {}
    made = {}
    for name, x in tensors.items():
        if x.ndim != 2 or ".experts." in name:
            continue
        where = "attention" if name.split(".")[-2] in ("q_proj", "k_proj", "v_proj") else name
        where = "mlp" if name.split(".")[-2] in ("gate_proj", "up_proj", "gate") else where
        made[f"{name}.mean_square"] = shared.setdefault(where, loud(rng, x.shape[1]))
    return made


def write_model(folder: Path, tensors: dict[str, np.ndarray], about: dict, known: dict[str, np.ndarray]) -> list[Path]:
    """A checkpoint and its statistics."""
    source = folder / "source"
    source.mkdir()
    write(source / "model.safetensors", tensors)
    (source / "config.json").write_text(json.dumps(CONFIG | about))
    write(folder / "statistics.safetensors", known)
    return [source, folder / "statistics.safetensors"]


def codes_of(packed: np.ndarray) -> np.ndarray:
    """Of the layout for vLLM: eight to a word."""
    words = packed.view(np.uint32)[..., None] >> (4 * np.arange(8, dtype=np.uint32))
    return ((words & 15).astype(np.int8) - 8).reshape(packed.shape[0], -1)


def output_of(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    tensors, _ = read(folder / "model.safetensors")
    return tensors, json.loads((folder / "conversion.json").read_text())


def collect(model: Any, tokens: Any, file: Path) -> None:
    """What the adapter's collector writes for these rows of tokens, from a model of transformers."""
    import torch
    from safetensors.torch import save_file

    seen: dict[str, list[Any]] = {}
    hooks = []
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear) and name != "lm_head":
            rows = seen.setdefault(f"{name}.weight.mean_square", [])
            measure = lambda _layer, args, rows=rows: rows.append(args[0].double().square().mean((0, 1)))  # noqa: E731
            hooks.append(layer.register_forward_pre_hook(measure))
    with torch.inference_mode():
        for row in tokens:
            model(row[None])
    for hook in hooks:
        hook.remove()
    save_file({name: torch.stack(rows).mean(0).float() for name, rows in seen.items()}, file)
