"""Makes a model's tokenizer files from a GGUF file's vocabulary: `python -m opswap.gguf_tokenizer FILE FOLDER < FACTS`.

FACTS is a JSON object of what llama.cpp does beside looking tokens up, which transformers does not read from the file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from opswap.lifeline import end_with_parent

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SENTENCE = "The capital of France is Paris."
PROBES = (SENTENCE, "Hello, world!", "x = [1, 22, 333]\n\n\tdéjà vu", "  two  spaces ")

#: GPT-2's way of splitting, which transformers takes for every byte-level vocabulary that it does not know.
AS_GPT2 = frozenset(
    [
        "default",
        "gpt-2",
        "gpt2",
        "phi-2",
        "mpt",
        "olmo",
        "jais",
        "trillion",
        "jina-es",
        "jina-de",
        "jina-v2-es",
        "jina-v2-de",
        "gigachat",
        "a.x-4.0",
        "mellum",
        "exaone4",
    ]
)
#: The same, and each digit by itself.
DIGITS = frozenset(["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"])
#: Words that are tokens are taken whole, whatever merges say.
WHOLE_WORDS = frozenset(
    ["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken"]
)


class TokenizerSettings(TypedDict):
    """What the file says, or what llama.cpp takes where it does not."""

    model: str
    pre: str | None
    #: How many tokens the vocabulary has.
    size: int
    add_bos: bool
    add_eos: bool
    space_prefix: bool
    #: Ids by the names that transformers has for such tokens.
    tokens: dict[str, int]
    #: By name; "default" is the one that is used unasked.
    templates: dict[str, str]


def make(file: Path, folder: Path, facts: TokenizerSettings) -> None:
    """Writes the files, or raises when what transformers makes of the vocabulary does not spell text back."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    _keep_to_file(tokenizer, file, facts)
    if facts["model"] == "gpt2":
        _split(tokenizer, facts["pre"])
    else:
        _space(tokenizer, wanted=facts["space_prefix"])
    for name, index in facts["tokens"].items():
        setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(index))
    if facts["templates"]:
        templates = facts["templates"]
        tokenizer.chat_template = templates["default"] if list(templates) == ["default"] else templates
    plain = {text: _spelled(tokenizer, text) for text in PROBES}
    # A vocabulary that was read wrongly falls back to letters or bytes; words of English have tokens of their own.
    cut = len(plain[SENTENCE])
    if cut > len(SENTENCE) / 2:
        raise ValueError(f"its tokenizer cuts {SENTENCE!r} into {cut} tokens")
    _ends(tokenizer, facts)
    tokenizer.save_pretrained(str(folder))
    _check_saved(AutoTokenizer.from_pretrained(str(folder)), plain, facts)


def _keep_to_file(tokenizer: PreTrainedTokenizerFast, file: Path, facts: TokenizerSettings) -> None:
    """
    Takes out tokens that transformers adds behind the vocabulary, which the model has no rows for, and gives tokens
    that are taken whole, such as DeepSeek's, the text they have: transformers spells them byte by byte.
    """
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    added = [one for one in state["added_tokens"] if one["id"] < facts["size"]]
    changed = len(added) < len(state["added_tokens"])
    if facts["model"] == "gpt2":
        known = {one["id"] for one in added}
        vocabulary = {index: token for token, index in state["model"]["vocab"].items()}
        for index, token, special in _whole(file):
            if index in known or vocabulary.get(index) == token:
                continue
            del state["model"]["vocab"][vocabulary[index]]
            state["model"]["vocab"][token] = index
            flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
            added.append({"id": index, "content": token, **flags})
            changed = True
    if changed:
        state["added_tokens"] = sorted(added, key=lambda one: one["id"])
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
    if len(tokenizer) > facts["size"]:
        raise ValueError(f"its tokenizer has {len(tokenizer)} tokens, and the file {facts['size']}")


def _whole(file: Path) -> list[tuple[int, str, bool]]:
    """Tokens that text never makes of its letters: control tokens, which are special, and those users defined."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import get_gguf_tokenizer

    _, found, _ = get_gguf_tokenizer(str(file))
    typed = zip(found["tokens"], found.get("token_type") or (), strict=False)
    return [(i, token, kind == 3) for i, (token, kind) in enumerate(typed) if kind in (3, 4)]


def _spelled(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids = tokenizer.encode(text, add_special_tokens=False)
    back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if back.strip() != text.strip():
        raise ValueError(f"its tokenizer spells {text!r} as {back!r}")
    return ids


def _split(tokenizer: PreTrainedTokenizerFast, pre: str | None) -> None:
    """Splits text into words as the vocabulary's merges were learned, or raises where nobody here knows how."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    backend = tokenizer.backend_tokenizer
    if pre in DIGITS:
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_])
    elif pre is not None and pre not in AS_GPT2 and pre not in GGUF_PRE_TOKENIZER_SPLITS:
        raise ValueError(f"how tokenizer.ggml.pre {pre!r} splits text is not known here")
    if pre in WHOLE_WORDS:
        backend.model.ignore_merges = True


def _space(tokenizer: PreTrainedTokenizerFast, *, wanted: bool) -> None:
    """Puts a space before the text, or none, as SentencePiece vocabularies have it."""
    from tokenizers import decoders, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    first = "x" if backend.normalizer is None else backend.normalizer.normalize_str("x")
    words = [(first, (0, 1))] if backend.pre_tokenizer is None else backend.pre_tokenizer.pre_tokenize_str(first)
    if words[0][0].startswith("▁") == wanted:
        return
    if wanted:
        raise ValueError(
            "it puts a space before every text (tokenizer.ggml.add_space_prefix), and its model class none"
        )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_prefix_space = False
    tokenizer.init_kwargs["add_prefix_space"] = False


def _ends(tokenizer: PreTrainedTokenizerFast, facts: TokenizerSettings) -> None:
    """Tokens before and after every text, by a template that is written into tokenizer.json."""
    for wanted, name in ((facts["add_bos"], "bos"), (facts["add_eos"], "eos")):
        if wanted and getattr(tokenizer, f"{name}_token_id") is None:
            raise ValueError(f"tokenizer.ggml.add_{name}_token is true, and there is no {name}_token_id")
        setattr(tokenizer, f"add_{name}_token", wanted)
        tokenizer.init_kwargs[f"add_{name}_token"] = wanted


def _check_saved(saved: PreTrainedTokenizerFast, plain: dict[str, list[int]], facts: TokenizerSettings) -> None:
    """What is read back from the files must do the same."""
    before = [saved.bos_token_id] if facts["add_bos"] else []
    after = [saved.eos_token_id] if facts["add_eos"] else []
    for text, ids in plain.items():
        found = saved.encode(text)
        if found != [*before, *ids, *after]:
            raise ValueError(
                f"its tokenizer's files make {found} of {text!r}, and should make {[*before, *ids, *after]}"
            )


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    end_with_parent()
    try:
        make(Path(arguments[0]), Path(arguments[1]), json.load(sys.stdin))
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:250]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
