"""Perplexity of SmolLM2 on a fixed text, before conversion and after each format.

`npm run bench -- perplexity [--tokens N]`. The text is Newton's Opticks, which comes with apache-tvm-ffi, which vLLM
needs. The weights are dequantised and run in float32, so that the formats differ and nothing else. `delta` is the mean
difference of log-probabilities from the source, in nats a token, and `moved` their mean distance. Prints JSON.
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
WINDOW = 512
FORMATS = (
    "import('./dist/convert/formats/index.js').then((m) => console.log(JSON.stringify(m.FORMATS.map((f) => f.id))))"
)


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


def log_probabilities(model: Any, windows: torch.Tensor) -> torch.Tensor:
    """Of each token of each window but the first, given those before it."""
    values = []
    with torch.inference_mode():
        for window in windows:
            scores = model(window[None]).logits[0, :-1].float().log_softmax(-1)
            values.append(scores.gather(1, window[1:, None])[:, 0])
    return torch.cat(values).double()


def loaded(source: Path, weights: dict[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source), dtype=torch.float32)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise SystemExit(f"perplexity: weights do not fit the model: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    return model.eval()


def node(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["node", *args], cwd=ROOT, capture_output=True, text=True, check=False)


def measure(source: Path, windows: torch.Tensor, formats: list[str]) -> dict[str, Any]:
    from convert.dequantise import dequantised

    before = log_probabilities(loaded(source, dequantised(source)), windows)
    rows: dict[str, Any] = {"source": {"perplexity": round(math.exp(-before.mean()), 4)}}
    with tempfile.TemporaryDirectory() as scratch:
        for name in formats:
            target = Path(scratch) / name
            ran = node("dist/cli.js", "convert", str(source), str(target), "--to", name, "--quiet")
            if ran.returncode != 0:
                rows[name] = {"refused": (ran.stderr + ran.stdout).strip().splitlines()[-1]}
                continue
            after = log_probabilities(loaded(source, dequantised(target)), windows)
            rows[name] = {
                "perplexity": round(math.exp(-after.mean()), 4),
                "delta": round(float((after - before).mean()), 4),
                "moved": round(float((after - before).abs().mean()), 4),
                "megabytes": round(sum(f.stat().st_size for f in target.glob("*.safetensors")) / 1e6),
            }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=8 * WINDOW)
    parser.add_argument("--model", type=Path, help="a folder with safetensors and tokenizer; default: SmolLM2")
    parser.add_argument("--formats", help="layout ids with commas between; default: all that there are")
    options = parser.parse_args()
    from opswap.adapters.vllm.model import ensure_model
    from transformers import AutoTokenizer

    cache = Path(os.environ.get("OPSWAP_CACHE") or Path.home() / ".cache/opswap")
    source = options.model or ensure_model(cache / "models/smollm2-135m-bfloat16")
    text, about = fixed_text()
    ids = AutoTokenizer.from_pretrained(source)(text[: 8 * options.tokens]).input_ids[: options.tokens]
    windows = torch.tensor(ids[: len(ids) // WINDOW * WINDOW]).view(-1, WINDOW)
    formats = options.formats.split(",") if options.formats else json.loads(node("-e", FORMATS).stdout)
    report = {"benchmark": "perplexity", "text": about, "tokens": windows.numel(), "window": WINDOW}
    print(json.dumps({**report, "formats": measure(source, windows, formats)}, indent=2))


if __name__ == "__main__":
    main()
