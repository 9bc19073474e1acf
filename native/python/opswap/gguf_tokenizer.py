"""Makes a model's tokenizer files from a GGUF file's vocabulary: `python -m opswap.gguf_tokenizer FILE FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opswap.lifeline import end_with_parent

SENTENCE = "The capital of France is Paris."
PROBES = (SENTENCE, "Hello, world!", "x = [1, 22, 333]\n\n\tdéjà vu", "  two  spaces ")


def make(file: Path, folder: Path) -> None:
    """Writes the files, or raises when what transformers makes of the vocabulary does not spell text back."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    for text in PROBES:
        ids = tokenizer.encode(text, add_special_tokens=False)
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if back.strip() != text.strip():
            raise ValueError(f"its tokenizer spells {text!r} as {back!r}")
    # A vocabulary that was read wrongly falls back to letters or bytes; words of English have tokens of their own.
    cut = len(tokenizer.encode(SENTENCE, add_special_tokens=False))
    if cut > len(SENTENCE) / 2:
        raise ValueError(f"its tokenizer cuts {SENTENCE!r} into {cut} tokens")
    tokenizer.save_pretrained(str(folder))


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    end_with_parent()
    try:
        make(Path(arguments[0]), Path(arguments[1]))
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:250]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
