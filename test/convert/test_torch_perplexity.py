"""The perplexity that a report shows is the models' own, and a report without one says why."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from convert.checkpoint import opswap
from opswap import converter
from opswap.dequantise import dequantised
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = " ".join(f"the {word} of light" for word in ["ray", "colour", "lens", "prism", "glass"] * 300)
WORDS = ["[UNK]", *sorted(set(TEXT.split()))]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPSWAP_PYTHON", sys.executable)
    torch.manual_seed(1)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2, "head_dim": 64}
    config = LlamaConfig(vocab_size=len(WORDS), num_hidden_layers=2, initializer_range=0.3, **sizes)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "source")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(tmp_path / "source")
    (tmp_path / "text.txt").write_text(TEXT)
    ran = opswap(tmp_path / "source", tmp_path / "out", "--to", "w4a8_g128_vllm", "-q")
    assert ran.returncode == 0, ran.stdout
    return tmp_path / "source"


def _perplexity(source: Path, weights: dict[str, torch.Tensor], tokens: int) -> float:
    """Of cross entropy as transformers computes it."""
    model = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32)
    model.load_state_dict(weights)
    ids = torch.tensor([WORDS.index(word) for word in TEXT.split()[:tokens]]).view(-1, 512)
    with torch.inference_mode():
        return math.exp(sum(float(model(row[None], labels=row[None]).loss) for row in ids) / len(ids))


def test_the_report_shows_it(source: Path) -> None:
    out = source.parent / "out"
    assert "not measured" in converter.read_report(out).data["perplexity"]["absent"]
    assert "not measured" in (out / "conversion.html").read_text()
    before = (out / "conversion.json").read_text()
    found = converter.perplexity(source, out, text=source.parent / "text.txt", tokens=1024)
    assert found.before == pytest.approx(_perplexity(source, dequantised(source), 1024), rel=1e-3)
    assert found.after == pytest.approx(_perplexity(source, dequantised(out), 1024), rel=1e-3)
    assert found.after != found.before and found.tokens == 1024 and found.text == "text.txt"
    assert found.delta == pytest.approx(math.log(found.before / found.after), abs=1e-3)
    report = json.loads((out / "conversion.json").read_text())
    assert report.pop("perplexity") == found.__dict__
    assert report == {key: value for key, value in json.loads(before).items() if key != "perplexity"}
    assert f"{found.before:.3f} before, {found.after:.3f} after" in (out / "conversion.html").read_text()
    assert opswap("verify", source, out, "-q").returncode == 0
    assert not [one for one in out.iterdir() if one.name.count(".json.") + one.name.count(".html.")]


def test_a_report_without_it_says_why(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, text = source.parent / "out", source.parent / "text.txt"
    with pytest.raises(converter.ConvertError, match="is no file of text"):
        converter.perplexity(source, out, text=source.parent / "none.txt")
    text.write_text("too short")
    with pytest.raises(converter.ConvertError, match="2 tokens, and 512 are needed"):
        converter.perplexity(source, out, text=text)
    assert "512 are needed" in converter.read_report(out).data["perplexity"]["absent"]
    assert "512 are needed" in (out / "conversion.html").read_text()


def test_an_output_that_is_worse_than_accepted_is_not_published(source: Path) -> None:
    text, out = source.parent / "text.txt", source.parent / "accepted"
    words = ["--to", "w4a8_g128_vllm", "--text", text, "--tokens", "1024", "-q"]
    before = _perplexity(source, dequantised(source), 1024)
    after = _perplexity(source, dequantised(source.parent / "out"), 1024)
    refused = opswap(source, out, *words, "--accept", f"ppl<{after / before * 0.99:.6f}x")
    assert refused.returncode == 1 and "OPSWAP_E_NOT_ACCEPTED" in refused.stdout + refused.stderr
    assert not out.exists() and (source.parent / "accepted.partial").exists()
    assert opswap(source, out, *words, "--accept", f"ppl<{after * 1.01:.6f}").returncode == 0
    assert converter.read_report(out).data["perplexity"]["after"] == pytest.approx(after, rel=1e-3)
    assert opswap("verify", source, out, "-q").returncode == 0


@pytest.mark.parametrize("limit", ["ppl", "ppl>2", "ppl<0", "ppl<-1x", "ppl<1.0.1x"])
def test_a_limit_that_is_none_is_refused_before_anything_is_read(tmp_path: Path, limit: str) -> None:
    ran = opswap(tmp_path / "none", tmp_path / "out", "--accept", limit, "--text", "t")
    assert ran.returncode == 2 and "ppl<1.01x" in ran.stderr
