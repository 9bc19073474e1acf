"""The demo's model in real vLLM, in each layout that `plan` offers for it: its first words are the source's.

`bf16` is what the demo serves; `fp8_block128` is test_served_chain.py's. The others are refused, or have nothing to
quantise: SmolLM2's 576 columns are no whole groups of 128, and it has no experts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fp8
import pytest

ASK = """
import sys
from vllm import LLM, SamplingParams
llm = LLM(sys.argv[1], dtype="bfloat16", enforce_eager=True, max_model_len=128, max_num_seqs=2,
          kv_cache_memory_bytes=64 << 20, worker_extension_cls="opswap.adapters.vllm.worker.WorkerExtension")
sampling = SamplingParams(max_tokens=4, temperature=0)
print("SAID" + llm.generate(["The capital of France is"], sampling, use_tqdm=False)[0].outputs[0].text)
print("KERNELS", llm.collective_rpc("opswap_report")[0]["kernels"])
"""


@pytest.mark.parametrize("layout", ["fp8_tensor", "ct_fp8_tensor", "ct_fp8_channel"])
def test_it_says_paris(smollm2: Path, layout: str, tmp_path: Path) -> None:
    model = fp8.convert(smollm2, tmp_path / "out", "--to", layout, "--for", "vllm")
    # An engine lives as long as its process, so that three in one would hold three models: each has its own.
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(model)], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "SAID Paris" in done.stdout
    assert "KERNELS {'OpswapFp8Kernel': 120}" in done.stdout
