"""Plans of grouped products as properties: every element of out is of one tile, every step of a tile of one task, and
nothing lies outside; the SM that has most has little more than its share."""

from __future__ import annotations

import re

import numpy as np
import pytest
from group_plans import Batch, Record, made, random_batch
from rooms import ROOT

DEVICES = ROOT / "evidence/devices.json"


@pytest.mark.parametrize("seed", range(40))
def test_every_element_and_step_is_of_one_task(seed: int) -> None:
    batch = random_batch(np.random.default_rng(seed))
    record = Record(made(batch))
    steps: dict[tuple, list[tuple[int, int]]] = {}
    for task in record.tasks():
        steps.setdefault((task.group, task.rows, task.columns), []).append(task.steps)
    for parts in steps.values():
        edges = sorted(parts)
        assert [end for _, end in edges[:-1]] == [begin for begin, _ in edges[1:]], "steps follow on each other"
        assert (edges[0][0], edges[-1][1]) == (0, record.head["steps"])
        assert len(edges) == 1 or all(begin < end for begin, end in edges)
    area: dict[int, int] = {}
    for group, rows, columns in steps:
        assert rows[0] < rows[1] and columns[0] < columns[1] <= batch.n
        assert record.first[group] <= rows[0] and rows[1] <= record.first[group] + batch.sizes[group]
        assert (rows[0] - record.first[group]) % record.tokens == 0 and columns[0] % record.weights == 0
        area[group] = area.get(group, 0) + (rows[1] - rows[0]) * (columns[1] - columns[0])
    assert area == {g: size * batch.n for g, size in enumerate(batch.sizes) if size}


@pytest.mark.parametrize("card", [1, 2, 3])
@pytest.mark.parametrize("sizes", [[192] * 32, [20] * 32, [20] * 6])
def test_the_slowest_sm_has_little_more_than_its_share(sizes: list[int], card: int) -> None:
    for element_bytes in (1, 2):
        batch = Batch(sizes, 1024, 0, 1024 * len(sizes), 7168, 3072, element_bytes, card)
        record = Record(made(batch))
        tasks = list(record.tasks())
        steps = sum(task.steps[1] - task.steps[0] for task in tasks)
        tiles = len({(task.group, task.rows, task.columns) for task in tasks})
        least = (steps * record.head["step_cycles"] + tiles * 1225) / record.head["sms"]
        assert record.slowest() <= 1.05 * least


@pytest.mark.parametrize("card", [1, 2, 3])
def test_few_rows_of_a_group_are_columns_without_padding(card: int) -> None:
    for rows in (1, 8, 16, 32, 64):
        record = Record(made(Batch([rows] * 8, 0, 0, rows * 8, 4096, 4096, 1, card)))
        assert record.swap and (rows % record.tokens == 0 or record.tokens == 8)


def test_cards_are_those_of_the_evidence() -> None:
    """SMs and L2 as they are; bandwidth over SMs and the clock that the header names."""
    import json

    text = (ROOT / "kernels/common/device/product_card.h").read_text()
    found = re.findall(r'\{"(\w+)", (\d+), (\d+), (\d+), (\d+)\}', text)
    devices = json.loads(DEVICES.read_text())
    assert [name for name, *_ in found] == list(devices)
    for name, sms, memory, l2, tensor_clocks in found:
        device = devices[name]
        clock = next(float(c) for gbps, c in re.findall(r"(\d+) GB/s / \d+ / ([\d.]+) GHz", text)
                     if int(gbps) == device["bandwidth_gbps"])  # fmt: skip
        assert (int(sms), int(l2)) == (device["sms"], device["l2_mb"])
        assert int(memory) == round(device["bandwidth_gbps"] / device["sms"] / clock * 100)
        rate = device["tflops"]["bfloat16"] / device["sms"] / clock
        fastest = max(d["tflops"]["bfloat16"] / d["sms"] / 1.755 for d in devices.values())
        assert int(tensor_clocks) == round(fastest / rate)
