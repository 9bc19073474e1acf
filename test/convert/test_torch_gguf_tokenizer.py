"""Tokenizers of GGUF files: tokens before and after a text, and the space before it, as llama.cpp has them."""

from __future__ import annotations

import string
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from convert.checkpoint import opswap
from convert.gguf_models import write_model
from gguf import GGUFWriter, TokenType
from opswap.gguf_tokenizer import make
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

TEXT = "The capital of France is Paris."
WORDS = ["The", "capital", "of", "France", "is", "Paris", "Hello", "world", "two", "spaces"]
CONTROL, NORMAL, BYTE = TokenType.CONTROL, TokenType.NORMAL, TokenType.BYTE
BOS, EOS = 1, 2


def _pieces() -> list[tuple[str, float, TokenType]]:
    """Pieces that SentencePiece's merges reach, letter by letter."""
    found = {"<unk>": TokenType.UNKNOWN, "<s>": CONTROL, "</s>": CONTROL}
    found |= {f"<0x{i:02X}>": BYTE for i in range(256)}
    starts = [f"{first}{word[:i]}" for word in WORDS for first in ("▁", "") for i in range(1, len(word) + 1)]
    for piece in [*starts, "▁", *string.ascii_letters, *string.digits, *".,!?=[]"]:
        found.setdefault(piece, NORMAL)
    return [(piece, -float(i), kind) for i, (piece, kind) in enumerate(found.items())]


def _bytes() -> tuple[list[str], list[str]]:
    """A byte-level vocabulary and its merges; a word is a token with the space before it and without."""
    spelling = bytes_to_unicode()
    merges: dict[str, None] = {}
    tokens = dict.fromkeys(["<|unk|>", "<｜begin▁of｜>", "<|end|>", *spelling.values()])
    for letters in [*(["Ġ", *word] for word in WORDS), *(list(word) for word in WORDS)]:
        for i in range(1, len(letters)):
            merges.setdefault(f"{''.join(letters[:i])} {letters[i]}")
            tokens.setdefault("".join(letters[: i + 1]))
    return list(tokens), list(merges)


def _spm(file: Path, **more: Any) -> None:
    pieces = _pieces()

    def add(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list([piece.encode() for piece, *_ in pieces])
        writer.add_token_scores([score for _, score, _ in pieces])
        writer.add_token_types([kind for *_, kind in pieces])
        _add(writer, more)

    write_model(file, "llama", vocabulary=len(pieces), more=add)


def _bpe(file: Path, **more: Any) -> None:
    tokens, merges = _bytes()

    def add(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([token.encode() for token in tokens])
        writer.add_token_types([CONTROL if i < 3 else NORMAL for i in range(len(tokens))])
        writer.add_token_merges(merges)
        _add(writer, more)

    write_model(file, "llama", vocabulary=len(tokens), more=add)


def _add(writer: GGUFWriter, more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, bool):
            writer.add_bool(f"tokenizer.ggml.{name}", value)
        else:
            writer.add_string(f"tokenizer.{name.replace('__', '.')}", value)


@pytest.fixture
def _python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPSWAP_PYTHON", sys.executable)
    monkeypatch.setenv("OPSWAP_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_python")
def test_a_converted_models_tokenizer_begins_texts_as_the_file_says(tmp_path: Path) -> None:
    templates = {
        "chat_template": "plain {{ messages[0].content }}",
        "chat_template__tool": "tool {{ messages[0].content }}",
    }
    _spm(tmp_path / "m.gguf", add_bos_token=True, add_eos_token=True, **templates)
    ran = opswap("run", tmp_path / "m.gguf", tmp_path / "out", "--to", "bf16", "-q")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    made = AutoTokenizer.from_pretrained(tmp_path / "out")
    pieces = [piece for piece, *_ in _pieces()]
    right = [pieces.index(f"▁{word}") for word in WORDS[:6]] + [pieces.index(".")]
    assert made.encode(TEXT) == [BOS, *right, EOS]
    assert made(TEXT, "Hello")["input_ids"] == [BOS, *right, EOS, BOS, pieces.index("▁Hello"), EOS]
    assert made.decode(right) == TEXT
    assert len(made) == len(pieces)
    assert made.get_chat_template("tool") == "tool {{ messages[0].content }}"
    assert made.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "plain Hi"


FACTS = {
    "model": "llama",
    "pre": None,
    "size": len(_pieces()),
    "add_bos": False,
    "add_eos": False,
    "space_prefix": True,
    "tokens": {"bos_token": BOS, "eos_token": EOS, "unk_token": 0},
    "templates": {},
}
BPE = FACTS | {"model": "gpt2", "space_prefix": False, "size": len(_bytes()[0])}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    _spm(folder / "llama.gguf")
    _bpe(folder / "gpt2.gguf")
    return {kind: folder / f"{kind}.gguf" for kind in ("llama", "gpt2")}


@pytest.mark.parametrize(
    ("facts", "first", "last"),
    [
        (FACTS, None, None),
        (FACTS | {"add_bos": True}, BOS, None),
        (FACTS | {"add_eos": True}, None, EOS),
        (BPE, None, None),
        (BPE | {"add_bos": True, "pre": "smollm"}, BOS, None),
        (BPE | {"add_eos": True, "pre": "qwen2"}, None, EOS),
    ],
)
def test_tokens_before_and_after_a_text(
    tmp_path: Path, files: dict[str, Path], facts: Any, first: int | None, last: int | None
) -> None:
    make(files[facts["model"]], tmp_path, facts)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    plain = saved.encode(TEXT, add_special_tokens=False)
    assert len(plain) == 7
    wanted = [*([] if first is None else [first]), *plain, *([] if last is None else [last])]
    assert saved.encode(TEXT) == wanted


def test_control_tokens_have_their_own_text_and_none_is_added(tmp_path: Path, files: dict[str, Path]) -> None:
    tokens, _ = _bytes()
    make(files["gpt2"], tmp_path, BPE | {"add_bos": True, "pre": "llama-bpe"})  # type: ignore[arg-type]
    made = AutoTokenizer.from_pretrained(tmp_path)
    right = [tokens.index("The"), *(tokens.index(f"Ġ{word}") for word in WORDS[1:6]), tokens.index(".")]
    assert made.encode(TEXT) == [BOS, *right]
    assert made.decode(right) == TEXT
    # Not in GPT-2's letters, and a token all the same; transformers' own <|endoftext|> is none of the model's.
    assert made.bos_token == tokens[BOS]
    assert made.encode(f"{tokens[BOS]}The", add_special_tokens=False) == [BOS, tokens.index("The")]
    assert len(made) == len(tokens)


def test_a_text_begins_with_a_space_or_not(tmp_path: Path, files: dict[str, Path]) -> None:
    pieces = [piece for piece, *_ in _pieces()]
    for wanted in (True, False):
        folder = tmp_path / str(wanted)
        make(files["llama"], folder, FACTS | {"space_prefix": wanted})  # type: ignore[arg-type]
        saved = AutoTokenizer.from_pretrained(folder)
        ids = saved.encode("The capital")
        assert ids == [pieces.index("▁The" if wanted else "The"), pieces.index("▁capital")]
        assert saved.decode(ids) == "The capital"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (BPE | {"pre": "of-tomorrow"}, "'of-tomorrow' splits text is not known"),
        (BPE | {"add_bos": True, "tokens": {"bos_token": 9999}}, "add_bos_token is true, and there is no bos_token_id"),
        (FACTS | {"size": 99}, "and the file 99"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, files: dict[str, Path], facts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(files[facts["model"]], tmp_path, facts)


def test_each_digit_is_a_token_where_the_vocabulary_was_learned_so(tmp_path: Path, files: dict[str, Path]) -> None:
    tokens, merges = _bytes()
    assert not any(a.isdigit() and b.isdigit() for a, b in pairwise(" ".join(merges)))
    make(files["gpt2"], tmp_path, BPE | {"pre": "smollm"})  # type: ignore[arg-type]
    backend = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str("in 2024")]
    assert words == ["in", "Ġ", "2", "0", "2", "4"]
    assert "2" in tokens
