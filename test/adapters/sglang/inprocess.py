"""SGLang in one process, as its own benchmark of one batch runs it: all of an engine but scheduler and server."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

ARGS = {
    "device": "cpu",
    "dtype": "float32",
    "attention_backend": "opswap",
    "skip_tokenizer_init": True,
    "disable_cuda_graph": True,
    "disable_overlap_schedule": True,
    "mem_fraction_static": 0.5,
    "max_total_tokens": 2048,
    "max_running_requests": 8,
    "context_length": 256,
    "random_seed": 1,
    "log_level": "error",
}


class Engine:
    """A model that is loaded."""

    def __init__(self, runner: Any) -> None:
        self._batch_runner = runner

    @property
    def runner(self) -> Any:
        """SGLang's ModelRunner."""
        return self._batch_runner.torch_runner

    def generate(self, prompts: list[list[int]], count: int) -> list[list[int]]:
        """Greedy tokens; nothing is cached between two calls."""
        chosen, batch = self._prefill(prompts)[::2]
        tokens = [[int(token)] for token in chosen]
        for _ in range(count - 1):
            chosen = self._batch_runner.decode(chosen, batch)[0]
            for row, token in zip(tokens, chosen, strict=True):
                row.append(int(token))
        return tokens

    def log_probabilities(self, prompts: list[list[int]]) -> list[list[float]]:
        """Of each token of each prompt but the first, given those before it; the prompts have one length."""
        import torch

        _, logits, batch = self._prefill([prompt[:1] for prompt in prompts])
        found = []
        for position in range(1, len(prompts[0])):
            tokens = torch.tensor([prompt[position] for prompt in prompts])
            found.append(logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0].tolist())
            _, logits = self._batch_runner.decode(tokens, batch)
        return [list(row) for row in zip(*found, strict=True)]

    def extend(self, requests: list[Any]) -> tuple[Any, Any, Any]:
        """Chosen tokens, logits, and the batch of requests that nothing is cached of."""
        self._batch_runner.clear()
        return self._batch_runner.extend(requests)

    def _prefill(self, prompts: list[list[int]]) -> tuple[Any, Any, Any]:
        return self.extend([request(number, prompt) for number, prompt in enumerate(prompts)])


def request(number: int, prompt: list[int]) -> Any:
    from sglang.srt.managers.schedule_batch import Req
    from sglang.srt.sampling.sampling_params import SamplingParams

    made = Req(
        rid=str(number),
        origin_input_text="",
        origin_input_ids=array("q", prompt),
        sampling_params=SamplingParams(temperature=0, max_new_tokens=1),
    )
    made.full_untruncated_fill_ids = made.origin_input_ids
    made.logprob_start_len = -1
    made.extend_end = len(prompt)
    return made


def load(model: Path, **changes: Any) -> Engine:
    """Loads the plugins, as each process of SGLang's does first, and a model."""
    from sglang.srt.plugins import load_plugins

    load_plugins()
    from sglang.benchmark import one_batch
    from sglang.srt.runtime_context import get_resources, publish
    from sglang.srt.server_args import PortArgs, ServerArgs

    args = ServerArgs(model_path=str(model), **{**ARGS, **changes})
    ports = PortArgs.init_new(args)
    publish(args, role="scheduler", ranks=one_batch.SpawnRanks(world_rank=0, dp_rank=None, gpu_id=0))
    get_resources().expert_location_metadata = None  # of the model before
    one_batch.get_tokenizer = lambda *_args, **_options: None
    engine = Engine(one_batch.load_model(args, ports, 0, 0)[0])
    one_batch.bootstrap.init_parallel_runtime = lambda **_options: None  # of one process the groups are made once
    return engine
