"""The demo's model through each layout that `plan` offers for transformers: its first words are the source's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from loaders import matrix
from opswap.adapters.common.demo_model import ensure_model

# SmolLM2's 576 columns are no whole groups of 128, so W4A8 has nothing to quantise; it has no experts.
ANSWERED = {"bf16", "ct_fp8_tensor", "ct_fp8_channel"}
ASK = """
import sys, torch, transformers
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
words = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
ids = words("The capital of France is", return_tensors="pt").input_ids
print(words.decode(model.generate(ids, max_new_tokens=4, do_sample=False)[0]))
"""


@pytest.fixture(scope="module")
def source() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get("OPSWAP_CACHE", cache / "opswap")) / "models" / "smollm2-135m-bfloat16"
    return ensure_model(folder, "bfloat16")


@pytest.mark.parametrize("layout", matrix.LAYOUTS)
def test_it_says_paris_or_is_refused(source: Path, layout: str, tmp_path: Path) -> None:
    done = matrix.opswap(source, tmp_path / "out", "--to", layout, "--for", "transformers", "--quiet")
    assert (done.returncode == 0) == (layout in ANSWERED), done.stderr
    if done.returncode != 0:
        assert "OPSWAP_E_CA" in done.stderr
        return
    environment = {**os.environ, **matrix.QUIET, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", ASK, str(tmp_path / "out")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert "The capital of France is Paris" in said
