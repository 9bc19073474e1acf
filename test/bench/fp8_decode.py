"""Decode speed of real vLLM on opswap ops at batch 1: a random Llama in block FP8 beside the same in BF16, in turn.

`npm run bench -- fp8_decode [--rounds N] [--layers N] [--mode eager|compiled]`. 8 layers, hidden 2048, intermediate
8192, vocabulary 4096: about a gigabyte in BF16, so no cache holds it. The FP8 model is the converter's. Each side is a
process that stays up and is stopped while it is not its turn. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from _small_llama import byte_tokenizer
from vllm_decode import Running, Side, quartiles

ROOT = Path(__file__).resolve().parents[2]


def random_llama(folder: Path, layers: int) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = {"num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128}
    sizes = {"hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 4096, "num_hidden_layers": layers}
    config = LlamaConfig(**sizes, **heads, max_position_embeddings=1024, dtype="bfloat16")
    with torch.device("cpu"):
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def in_fp8(source: Path, folder: Path) -> Path:
    command = ["node", "dist/opswap.cjs", "convert", str(source), str(folder), "--to", "fp8_block128", "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


def measure(models: dict[str, Path], mode: str, rounds: int) -> dict:
    running = {name: Running(Side(name, sys.executable, mode, opswap=True), model) for name, model in models.items()}
    samples: dict[str, list[dict]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, competitor in running.items():
            samples[name].append(competitor.measure(1))
    for competitor in running.values():
        competitor.stop()
    decode = {name: quartiles([s["decode_tok_s"] for s in values]) for name, values in samples.items()}
    return {"decode_tok_s": decode, "fp8_over_bf16": round(decode["fp8"]["median"] / decode["bf16"]["median"], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--mode", choices=("eager", "compiled"), default="eager")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        plain = random_llama(Path(scratch) / "bf16", options.layers)
        models = {"bf16": plain, "fp8": in_fp8(plain, Path(scratch) / "fp8")}
        report = {"benchmark": "fp8_decode", "mode": options.mode, "layers": options.layers, "rounds": options.rounds}
        report |= measure(models, options.mode, max(1, options.rounds))
    print(json.dumps({**report, "cpus": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
