"""One competitor of vllm_decode: loads the model once, then answers each JSON line on stdin with one measurement.

python _vllm_side.py compiled|eager|transformers MODEL
"""

from __future__ import annotations

import ctypes
import json
import random
import signal
import sys
import time
from pathlib import Path


def prompts(batch: int, length: int, below: int) -> list[list[int]]:
    """Random tokens, new ones each time: a prefix cache must not help anybody."""
    return [[random.randrange(5, below) for _ in range(length)] for _ in range(batch)]


class Vllm:
    def __init__(self, model: str, eager: bool) -> None:
        import vllm
        from vllm import LLM

        self._vllm = vllm
        self._llm = LLM(
            model=model,
            dtype="bfloat16",
            enforce_eager=eager,
            max_model_len=512,
            max_num_seqs=8,
            kv_cache_memory_bytes=256 << 20,
            enable_prefix_caching=False,
            disable_log_stats=True,
        )
        self.about = {"version": vllm.__version__, "mode": "eager" if eager else "compiled"}

    def run(self, batch: list[list[int]], new: int) -> None:
        greedy = self._vllm.SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False)
        self._llm.generate([{"prompt_token_ids": p} for p in batch], greedy, use_tqdm=False)


class Transformers:
    def __init__(self, model: str) -> None:
        import torch
        import transformers

        self._torch = torch
        self._model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).eval()
        self.about = {"version": transformers.__version__, "mode": "eager"}

    def run(self, batch: list[list[int]], new: int) -> None:
        with self._torch.inference_mode():
            ids = self._torch.tensor(batch)
            self._model.generate(
                ids,
                attention_mask=self._torch.ones_like(ids),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
                pad_token_id=0,
            )


def seconds(engine: Vllm | Transformers, batch: list[list[int]], new: int) -> float:
    start = time.perf_counter()
    engine.run(batch, new)
    return time.perf_counter() - start


def measure(engine: Vllm | Transformers, batch: int, prompt: int, new: int, below: int) -> dict[str, float]:
    """Decode speed is that of the tokens after the first, whose time is the prefill's."""
    first = min(seconds(engine, prompts(batch, prompt, below), 1) for _ in range(2))
    whole = seconds(engine, prompts(batch, prompt, below), new)
    return {"decode_tok_s": batch * (new - 1) / (whole - first), "prefill_tok_s": batch * prompt / first}


def end_with_parent() -> None:
    """This process may be stopped when its parent goes: only the kernel can end it then."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    end_with_parent()
    mode, model = sys.argv[1:]
    below = json.loads((Path(model) / "config.json").read_text())["vocab_size"]
    engine = Transformers(model) if mode == "transformers" else Vllm(model, eager=mode == "eager")
    for batch in (1, 8):
        measure(engine, batch, 128, 8, below)
    print(json.dumps(engine.about), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(measure(engine, asked["batch"], asked["prompt"], asked["new"], below)), flush=True)


if __name__ == "__main__":
    main()
