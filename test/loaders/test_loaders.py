"""The loader matrix on six families: what readers do is what docs/loaders.json says, and what `plan` said before."""

import json
import os
import re
from pathlib import Path

import pytest
from loaders import matrix, page

FAMILIES = ["llama-tied", "qwen3-moe", "mixtral", "deepseek-v3", "gpt-oss", "glm4-moe"]
RECORD = json.loads(page.RECORD.read_text())
REMEDY = re.compile(r"(?:--to|write) (\w+)")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    made = matrix.Matrix(Path(tmp_path_factory.mktemp("loaders")), FAMILIES, matrix.LAYOUTS)
    made.make()
    return made


@pytest.mark.parametrize("reader", ["vllm", "transformers"])
def test_readers_do_what_plan_says(cells, reader):
    who, rows = cells.read(reader)
    planned = next(iter(cells.plans.values()))[reader]
    assert (planned["name"], planned["version"]) == (who["name"], who["version"])
    assert len(rows) == len(FAMILIES) * len(matrix.LAYOUTS)
    assert sum(row["result"] == "right" for row in rows) >= 30
    assert matrix.disagreements(rows) == []
    known = {(row["family"], row["layout"]): row["result"].split(":")[0] for row in RECORD[reader]["cells"]}
    found = {(row["family"], row["layout"]): row["result"].split(":")[0] for row in rows}
    assert found == {cell: known[cell] for cell in found}


def test_compressed_tensors_reads_what_plan_does_not_refuse_for_its_blocks(cells):
    _, rows = cells.read("compressed_tensors")
    assert len(rows) == 5 * len(FAMILIES)
    for row in rows:
        problems = cells.plans[row["family"], row["layout"]]["transformers"]["problems"]
        partial = any("partial blocks" in one["problem"] for one in problems)
        assert (row["result"] == "right") != partial, row
    assert {row["family"] for row in rows if row["result"] != "right"} == {"deepseek-v3"}


@pytest.mark.parametrize("reader", sorted(RECORD))
def test_every_cell_of_the_record_is_right_or_refused_with_a_remedy_that_is_right(reader):
    rows = {(row["family"], row["layout"]): row for row in RECORD[reader]["cells"]}
    assert matrix.disagreements(list(rows.values())) == []
    for (family, _), row in rows.items():
        if row["plan"] in ("loads", matrix.UNASKED) or row["result"].startswith("refused"):
            continue
        remedies = [
            rows[family, layout]["result"] for layout in REMEDY.findall(row["remedy"]) if (family, layout) in rows
        ]
        if all(rows[family, layout]["result"] != "right" for layout in matrix.LAYOUTS):
            assert "serve it with" in row["remedy"], row
        else:
            assert "right" in remedies, row


def test_page_is_what_the_record_makes():
    assert page.PAGE.read_text() == page.page(RECORD)


def test_a_reader_that_is_not_there_is_not_passed_over(monkeypatch):
    monkeypatch.delitem(os.environ, "OPSWAP_SGLANG_PYTHON", raising=False)
    monkeypatch.setattr("sys.argv", ["matrix.py", "llama", "--reader", "sglang"])
    with pytest.raises(SystemExit):
        matrix.main()


@pytest.mark.parametrize("change", [lambda one: one * 1.2, lambda one: one.roll(1, 0), lambda one: one * float("nan")])
def test_a_weight_that_is_not_the_source_s_is_found(change):
    import torch
    from loaders import weights

    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 256, bias=False, dtype=torch.bfloat16)
    model = torch.nn.ModuleDict({"o_proj": layer})
    source = {"o_proj.weight": layer.weight.detach().clone()}
    assert weights.compared("llama", source, model) == "right"
    assert weights.compared("llama", {**source, "q.weight": source["o_proj.weight"]}, model).startswith(
        "wrong: q.weight"
    )
    layer.weight.data = change(layer.weight.data)
    assert weights.compared("llama", source, model).startswith("wrong: o_proj.weight")
