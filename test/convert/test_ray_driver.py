"""The Ray driver with two local workers, on loopback. Runs in the environment of env/ray.lock."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from opswap import converter, converter_ray
from opswap.converter import ConvertError

WORKERS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    variables = {name: os.environ[name] for name in ("PYTHONPATH", "PATH") if name in os.environ}
    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        runtime_env={"env_vars": variables},
    )
    assert ray.util.get_node_ip_address() == "127.0.0.1", "run with RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0"
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    entries, body = [], b""
    for i in range(6):
        data = random.Random(i).randbytes(256 * 256)
        begin = len(body)
        body += b"".join(bytes((low, 0x3C)) for low in data)  # BF16 of one exponent: finite
        entries.append(
            f'"l.{i}.o_proj.weight":{{"dtype":"BF16","shape":[256,256],"data_offsets":[{begin},{len(body)}]}}'
        )
    text = ("{" + ",".join(entries) + "}").encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


@pytest.mark.usefixtures("cluster")
def test_two_workers_make_the_bytes_of_a_whole_run(source: Path, tmp_path: Path) -> None:
    converter.run(source, tmp_path / "whole")
    events: list[converter.Event] = []
    report = converter_ray.convert(source, tmp_path / "out", parts=3, on_event=events.append)
    assert sorted(one["index"] for one in events) == [1, 2, 3]
    assert report.quantized == 6
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.usefixtures("cluster")
def test_a_refusal_of_a_part_comes_back_as_itself(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError) as raised:
        converter_ray.convert(source, tmp_path / "out", parts=2, to="no_layout")
    assert raised.value.code == "OPSWAP_E_CANNOT_CONVERT" and raised.value.remedy


@pytest.mark.usefixtures("cluster")
def test_a_cut_conversion_goes_on(source: Path, tmp_path: Path) -> None:
    converter.run_part(source, tmp_path / "out", 1, 3)
    assert converter_ray.convert(source, tmp_path / "out", parts=3).quantized == 6
    converter.verify(source, tmp_path / "out")
