"""Perplexity of SmolLM2 on a fixed text, before conversion and after each format.

`npm run bench -- perplexity [--tokens N] [--train SECONDS]`. With --train a small Llama is trained first and
measured in SmolLM2's place, whose widths INT4 cannot have; what it learns from, and the statistics for --awq, are of
another part of the text. The text is Newton's Opticks, which comes with apache-tvm-ffi, which vLLM needs. The weights
are dequantised and run in float32, so that the formats differ and nothing else. `before` and `after` are perplexities,
`delta` is the mean difference of log-probabilities from the source, in nats a token, and `moved` their mean distance.
Prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test"))
FORMATS = """import('./dist/convert/formats/index.js').then(({ FORMATS }) =>
    console.log(JSON.stringify(FORMATS.flatMap(({ id, awq }) => awq ? [id, id + ' --awq'] : [id]))))"""


def fixed_text() -> tuple[str, dict[str, str]]:
    folder = Path(util.find_spec("tvm_ffi").origin).parent
    file = next(folder.rglob("Isaac.Newton-Opticks.txt"))
    data = file.read_bytes()
    about = {
        "file": file.name,
        "of": f"apache-tvm-ffi=={metadata.version('apache-tvm-ffi')}",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return data.decode("utf-8"), about


def node(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["node", *args], cwd=ROOT, capture_output=True, text=True, check=False)


def measure(source: Path, windows: torch.Tensor, others: torch.Tensor, formats: list[str]) -> dict[str, Any]:
    from convert.awq_models import collect
    from opswap.dequantise import dequantised
    from opswap.perplexity import compared, loaded, log_probabilities

    model = loaded(source, dequantised(source))
    before = log_probabilities(model, windows)
    rows: dict[str, Any] = {"source": {"before": round(math.exp(-before.mean()), 4)}}
    with tempfile.TemporaryDirectory() as scratch:
        statistics = Path(scratch) / "statistics.safetensors"
        collect(model, others, statistics)
        for name in formats:
            to, *awq = name.split()
            target = Path(scratch) / name
            more = ["--calibration", str(statistics)] if awq else []
            ran = node("dist/opswap.cjs", "convert", str(source), str(target), "--to", to, "--quiet", *awq, *more)
            if ran.returncode != 0:
                rows[name] = {"refused": (ran.stderr + ran.stdout).strip().splitlines()[-1]}
                continue
            try:
                after = log_probabilities(loaded(source, dequantised(target)), windows)
            except (ValueError, KeyError, RuntimeError) as error:
                rows[name] = {"not_read_back": f"{type(error).__name__}: {error}"[:200]}
                continue
            rows[name] = {
                **compared(before, after),
                "megabytes": round(sum(f.stat().st_size for f in target.glob("*.safetensors")) / 1e6),
            }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--model", type=Path, help="a folder with safetensors and tokenizer; default: SmolLM2")
    parser.add_argument("--formats", help="layout ids with commas between; default: all that there are")
    parser.add_argument("--train", type=float, metavar="SECONDS", help="measure a small Llama trained so long")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(benchmark(options, Path(scratch)), indent=2))


def benchmark(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    from opswap.adapters.common.demo_model import ensure_model
    from opswap.perplexity import WINDOW, windows_of

    cache = Path(os.environ.get("OPSWAP_CACHE") or Path.home() / ".cache/opswap")
    text, about = fixed_text()
    other = text[len(text) // 4 :]
    if options.train:
        from bench._small_llama import train

        source = train(other, scratch / "small", options.train)
    else:
        source = options.model or ensure_model(cache / "models/smollm2-135m-bfloat16")
    windows = windows_of(source, text, options.tokens)
    formats = options.formats.split(",") if options.formats else json.loads(node("-e", FORMATS).stdout)
    report = {"benchmark": "perplexity", "text": about, "tokens": windows.numel(), "window": WINDOW}
    others = windows_of(source, other, options.tokens)
    return {**report, "model": source.name, "formats": measure(source, windows, others, formats)}


if __name__ == "__main__":
    main()
