"""Perplexity before and after a conversion: `python -m opswap.perplexity SOURCE OUTPUT --text FILE` prints JSON.

Both are dequantised and run by transformers in float32, so that the weights differ and nothing else. `delta` is the
mean difference of log-probabilities from the source, in nats a token, and `moved` their mean distance.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from opswap.errors import require
from opswap.lifeline import end_with_parent

WINDOW = 512
TOKENS = 8 * WINDOW


def windows_of(tokenizer_of: Path, text: str, tokens: int, window: int = WINDOW) -> Any:
    """Rows of tokens; what does not fill a window is left out."""
    import torch
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tokenizer_of)(text[: 8 * tokens]).input_ids[:tokens]
    if len(ids) < window:
        raise ValueError(f"the text has {len(ids)} tokens, and {window} are needed")
    return torch.tensor(ids[: len(ids) // window * window]).view(-1, window)


def log_probabilities(model: Any, windows: Any) -> Any:
    """Of each token of each window but the first, given those before it."""
    import torch

    values = []
    with torch.inference_mode():
        for window in windows:
            scores = model(window[None]).logits[0, :-1].float().log_softmax(-1)
            values.append(scores.gather(1, window[1:, None])[:, 0])
    return torch.cat(values).double()


def loaded(config_of: Path, weights: dict[str, Any]) -> Any:
    """A model of these weights in float32; refuses some that do not fit."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config_of), dtype=torch.float32)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise ValueError(f"weights do not fit the model: missing {missing[:3]}, unexpected {unexpected[:3]}")
    model.tie_weights()
    return model.eval()


def compared(before: Any, after: Any) -> dict[str, float]:
    """What a conversion did to the log-probabilities of tokens."""
    return {
        "after": round(math.exp(-after.mean()), 4),
        "delta": round(float((after - before).mean()), 4),
        "moved": round(float((after - before).abs().mean()), 4),
    }


def measure(source: Path, output: Path, text: Path, tokens: int) -> dict[str, Any]:
    require("perplexity", "torch", "transformers")
    from opswap.dequantise import dequantised

    data = text.read_bytes()
    windows = windows_of(source, data.decode("utf-8"), tokens)
    before = log_probabilities(loaded(source, dequantised(source)), windows)
    after = log_probabilities(loaded(source, dequantised(output)), windows)
    about = {"text": text.name, "text_sha256": hashlib.sha256(data).hexdigest()}
    sizes = {"tokens": windows.numel(), "window": windows.shape[1]}
    return {"before": round(math.exp(-before.mean()), 4), **compared(before, after), **sizes, **about}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m opswap.perplexity", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    options = parser.parse_args(argv)
    end_with_parent()
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        found = measure(options.source, options.output, options.text, options.tokens)
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:250]}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
