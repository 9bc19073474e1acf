"""From a GGUF file to a served FP8 model, by the lines of docs/convert.md as they stand there.

Judged by the log-probabilities of given tokens against the dequantised weights in float32. What bfloat16 alone moves
them by is measured beside it, on the same weights and tokens with Hugging Face's model: SmolLM2's is 0.03 to 0.04, by
the text. A wrong scale moves them by 0.68, inputs rounded to FP8 by 0.07 to 0.1.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import fp8
import numpy as np
import pytest
from convert.checkpoint import ROOT
from opswap import lifeline
from over_http import await_health, end_group, free_port, post

DOCUMENT = ROOT / "docs/convert.md"
BEYOND_BF16 = 1.25
SMALL = "--host 127.0.0.1 --max-model-len 256 --max-num-seqs 4 --kv-cache-memory-bytes 67108864"


def documented() -> list[str]:
    section = DOCUMENT.read_text().split("\n## Served by vLLM\n")[1]
    return re.search(r"```\n(.*?)```", section, re.S)[1].splitlines()


class Shell:
    """A folder in which somebody types the document's lines: `npx opswap`, `python` and `vllm` are this build's."""

    def __init__(self, folder: Path, runtime: str) -> None:
        self.folder = folder
        programs = folder / "node_modules/.bin"
        programs.mkdir(parents=True)
        (programs / "opswap").symlink_to(ROOT / "dist/opswap.cjs")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VLLM_")},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "OPSWAP_PYTHON": sys.executable,
            "OPSWAP_CACHE": str(folder / "cache"),
            "OPSWAP_RUNTIME_DIR": runtime,
            "VLLM_CACHE_ROOT": os.environ["VLLM_CACHE_ROOT"],
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_SERVER_DEV_MODE": "1",  # for the kernels' names, by /collective_rpc
            "HF_HUB_OFFLINE": "1",
        }

    def run(self, line: str) -> str:
        command = ["sh", "-c", line]
        ran = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def start(self, line: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            # A process group of its own, so that its engine ends with it, and both with this process.
            return subprocess.Popen(
                [sys.executable, lifeline.__file__, "sh", "-c", f"exec env {line}"],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """After the documented conversions."""
    with tempfile.TemporaryDirectory() as runtime:  # a short path, since it holds a socket
        shell = Shell(tmp_path_factory.mktemp("chain"), runtime)
        for line in documented()[:3]:
            shell.run(line)
        yield shell


@pytest.fixture(scope="module")
def url(shell: Shell) -> Iterator[str]:
    """Of the server that the documented line starts, on a free port and with little memory."""
    port, log = free_port(), shell.folder / "serve.log"
    server = shell.start(f"{documented()[3]} --port {port} {SMALL}", log)
    try:
        await_health(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        end_group(server)


def served_log_probabilities(url: str, prompts: list[list[int]]) -> np.ndarray:
    values = []
    for prompt in prompts:
        body = {"model": "SmolLM2-FP8", "prompt": prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        told = post(f"{url}/v1/completions", body)["choices"][0]["prompt_logprobs"]
        values += [row[str(token)]["logprob"] for token, row in zip(prompt[1:], told[1:], strict=True)]
    return np.array(values)


def some_text(folder: Path) -> list[list[int]]:
    """Two pieces of a book that comes with vLLM, and a sentence."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    package = Path(util.find_spec("tvm_ffi").origin).parent
    book = next(package.rglob("Isaac.Newton-Opticks.txt")).read_text(encoding="utf-8")
    ids = tokenizer(book[20_000:22_000]).input_ids
    sentence = tokenizer("The capital of France is Paris, on the river Seine.").input_ids
    return [ids[:128], ids[128:256], sentence]


def test_the_demo_model_from_gguf_to_an_answer(shell: Shell, url: str, record_property) -> None:
    import torch

    model = fp8.reference(shell.folder / "SmolLM2-FP8")
    prompts = some_text(shell.folder / "SmolLM2-FP8")
    exact = fp8.hf_log_probabilities(model, prompts)
    rounded = fp8.hf_log_probabilities(model.to(torch.bfloat16), prompts)
    served = served_log_probabilities(url, prompts)
    distance, floor = (float(np.abs(values - exact).mean()) for values in (served, rounded))
    record_property("log_probability_distance", distance)
    record_property("log_probability_distance_of_bf16", floor)
    said = f"mean distance {distance:.4f} over {len(exact)} tokens, of bf16 alone {floor:.4f}"
    assert distance < BEYOND_BF16 * floor, said
    assert floor < 0.05, said


def test_every_quantised_layer_is_opswaps(shell: Shell, url: str) -> None:
    """SmolLM2's q, k and v have 576, 192 and 192 rows, so of each block's four layers qkv stays as it is."""
    post(f"{url}/v1/completions", {"model": "SmolLM2-FP8", "prompt": [1, 2, 3], "max_tokens": 1})
    report = post(f"{url}/collective_rpc", {"method": "opswap_report"})["results"][0]
    assert report["kernels"] == {"OpswapFp8BlockKernel": 90}
    assert report["calls"]["gemm_fp8_block128"] % 90 == 0 < report["calls"]["gemm_fp8_block128"]
    assert "active" in shell.run(documented()[4])


def test_parts_that_end_inside_a_block_are_kept_and_the_plan_says_so(shell: Shell) -> None:
    plan = json.loads(shell.run("npx opswap convert plan SmolLM2-BF16 SmolLM2-FP8 --no-measure --json"))
    kept = [t for t in plan["tensors"] if "self_attn.k_proj" in t["name"]]
    assert len(kept) == 30
    assert all("does not end on a border of 128" in json.dumps(t) for t in kept)
