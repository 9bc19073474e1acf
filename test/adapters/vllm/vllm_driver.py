"""vLLM as the common suite of adapters drives it (test/adapters/common): a real engine of this process, on a CPU.

Engines are shared, since a start costs many seconds; vLLM's own tests take this one too.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

os.environ["VLLM_TARGET_DEVICE"] = "cpu"
os.environ["VLLM_PLUGINS"] = "opswap"
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
# Workers are spawned and import the helpers of this folder by name; multiprocessing hands sys.path on.
sys.path.insert(0, str(Path(__file__).parents[1] / "common"))
sys.path.insert(0, str(Path(__file__).parent))

import suite
from opswap.adapters.vllm import adapter

ADAPTER = adapter.ADAPTER
EXTENSION = "loud_worker.LoudExtension"
ENGINE = {
    "dtype": "float32",
    "max_model_len": 128,
    "max_num_seqs": 4,
    "seed": 0,
    "kv_cache_memory_bytes": 64 << 20,
    "skip_tokenizer_init": True,
    "disable_log_stats": True,
    "worker_extension_cls": EXTENSION,
}
#: Has vLLM load its plugins, as each of its processes does.
LOAD = "from vllm.plugins import load_general_plugins; load_general_plugins()"
#: An implementation whose tokens differ from all others', planted in the ranks.
LOUD = ("silu_and_mul", "loud")
#: Of several blocks of the cache.
LONG = [1, *range(3, 60)]
BLOCK = 16
PROMPTS, USED = suite.PROMPTS, suite.USED_BY_LLAMA
_engines: list[object] = []
#: Ends with this process.
_scratch = tempfile.TemporaryDirectory(prefix="opswap-vllm-")
os.environ.setdefault("VLLM_CACHE_ROOT", f"{_scratch.name}/cache")  # `npm test` brings one


@cache
def tiny_llama() -> Path:
    from tiny import make_llama

    return make_llama(Path(_scratch.name) / "tiny-llama")


def start_llm(model: Path, **changes: object) -> object:
    """Starts an engine of this process, which lives as long as the process.

    When vLLM 0.33 collects an engine it destroys the process's model parallel groups, with which all others compute.
    """
    from vllm import LLM

    _engines.append(LLM(model=str(model), **{**ENGINE, **changes}))
    gc.collect()  # So that an engine which is not kept is missed here, not whenever Python happens to collect.
    return _engines[-1]


@cache
def eager() -> object:
    llm = start_llm(tiny_llama(), enforce_eager=True, block_size=BLOCK)
    llm.collective_rpc("opswap_test_add_loud")  # type: ignore[attr-defined]
    return llm


def attach(name: str) -> object:
    """The agent of the engine, as a context manager."""
    from opswap.adapters.vllm import attach

    return attach(eager(), name)


def forget() -> None:
    """Empties the cache of KV."""
    assert eager().reset_prefix_cache()  # type: ignore[attr-defined]


def generate(prompts: list[list[int]], count: int) -> list[list[int]]:
    """Greedy tokens per prompt, with whatever is cached."""
    return tokens(eager(), prompts, count)


def tokens(llm: object, prompts: list[list[int]], count: int) -> list[list[int]]:
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, detokenize=False)
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], greedy, use_tqdm=False)  # type: ignore[attr-defined]
    return [list(output.outputs[0].token_ids) for output in outputs]
