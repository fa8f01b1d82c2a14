"""Loading networks and data sets of others asks no server."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from miniatures import write_pets, write_products

from segkit.configs.composing import compose, find_classes, to_plain
from segkit.runs.build import build_data, build_task
from segkit.runs.loading import load
from segkit.security import stored_configs


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection to a server, or look-up of its address, fails the test."""

    def fail(*words: str, **more: Any) -> None:
        pytest.fail(f"a socket was opened: {words}", pytrace=True)

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket, "create_connection", fail)
    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket.socket, "connect_ex", fail)


@pytest.mark.parametrize(
    "words",
    [
        ["model=smp_unet_resnet18"],
        ["model=segformer_b0"],
        ["model=lite_unet"],
        ["model=mobilenet_unet"],
        ["model=encoder_unet", "model.net.encoder=mobilenetv3_small_050"],
        ["model=smp_pan", "model.net.encoder=resnet18"],
    ],
)
def test_networks_of_others_are_loaded_without_asking_a_server(
    words: list[str], tmp_path: Path, no_network: None
) -> None:
    config = to_plain(compose(*words, "dataset.size=64", f"run_dir={tmp_path}"))
    task = build_task(config)
    torch.save({"segkit": task.facts, "state_dict": task.state_dict()}, tmp_path / "a.ckpt")
    loaded = load(str(tmp_path / "a.ckpt"))
    assert loaded.probabilities(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 1, 64, 64)
    assert loaded.facts["config"]["model"] == config["model"]


def test_data_sets_in_folders_are_read_without_asking_a_server(tmp_path: Path, no_network: None) -> None:
    pytest.importorskip("datasets")
    write_products(tmp_path / "products")
    write_pets(tmp_path / "pets")
    for name in ("products", "pets"):
        own = f"dataset={'product_masks' if name == 'products' else name}"
        cfg = compose(own, f"dataset.root={tmp_path}/{name}", "dataset.download=true" if name == "pets" else "seed=0")
        find_classes(cfg)
        dataset = stored_configs.merge_stored_dataset(to_plain(cfg)["dataset"], {}, "a.ckpt", [])
        assert not dataset.get("download")
        data = build_data(to_plain(cfg) | {"dataset": dataset}, splits=["test"])
        assert len(data.sources["test"])
