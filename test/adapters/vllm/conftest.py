"""Real vLLM on a CPU. Engines live in this process where they can, and are shared: a start costs many seconds."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["VLLM_TARGET_DEVICE"] = "cpu"
os.environ["VLLM_PLUGINS"] = "opswap"
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
# Workers are spawned and import these helpers by name; multiprocessing hands sys.path on.
sys.path.insert(0, str(Path(__file__).parents[1] / "common"))
sys.path.insert(0, str(Path(__file__).parent))

import pytest
from suite import PROMPTS, demo_model

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


@pytest.fixture(scope="session", autouse=True)
def private_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or leaves anything in the user's runtime folder or vLLM's caches; `npm test` brings a cache."""
    os.environ["OPSWAP_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("run"))
    if "VLLM_CACHE_ROOT" not in os.environ:
        os.environ["VLLM_CACHE_ROOT"] = str(tmp_path_factory.mktemp("vllm-cache"))
    Path(os.environ["OPSWAP_RUNTIME_DIR"]).chmod(0o700)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import make_llama

    return make_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return demo_model()


@pytest.fixture(scope="session")
def start_llm() -> Callable[..., object]:
    """Starts an engine of this process, which lives as long as the process.

    When vLLM 0.33 collects an engine it destroys the process's model parallel groups, with which all others compute.
    """
    engines = []

    def start(model: Path, **changes: object) -> object:
        from vllm import LLM

        engines.append(LLM(model=str(model), **{**ENGINE, **changes}))
        gc.collect()  # So that an engine which is not kept is missed here, not whenever Python happens to collect.
        return engines[-1]

    return start


@pytest.fixture(scope="session")
def eager(start_llm: Callable[..., object], tiny_llama: Path) -> Iterator[object]:
    llm = start_llm(tiny_llama, enforce_eager=True)
    llm.collective_rpc("opswap_test_add_loud")
    return llm


@pytest.fixture(scope="session")
def compiled(start_llm: Callable[..., object], tiny_llama: Path) -> object:
    llm = start_llm(tiny_llama)
    llm.collective_rpc("opswap_test_add_loud")
    return llm


@pytest.fixture
def generate() -> Callable[..., list[list[int]]]:
    """Greedy tokens per prompt, with an empty prefix cache, so that every call computes everything anew."""

    def run(llm: object, prompts: list[list[int]] = PROMPTS, count: int = 12) -> list[list[int]]:
        from vllm import SamplingParams

        assert llm.reset_prefix_cache()
        greedy = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, detokenize=False)
        outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], greedy, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    return run


@pytest.fixture
def served(eager: object, generate: Callable[..., list[list[int]]]) -> Callable[..., list[list[int]]]:
    """What the common suite asks: greedy tokens of the tiny Llama."""
    return lambda prompts, count: generate(eager, prompts, count)
