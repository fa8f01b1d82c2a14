"""The network as a picture."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import TINY

from segkit.configs.composing import compose, to_plain
from segkit.pictures import network
from segkit.runs.making import make

pytestmark = pytest.mark.skipif(not network.can_draw(), reason="pip install 'segkit[graph]'")
MODELS = ["unet", "unet_bilinear", "unet_levels", "segnet", "unet_classifier", "vgg_classifier", "vit_segmenter"]


@pytest.mark.parametrize("model", MODELS)
def test_networks_are_drawn_with_their_shapes(model: str, capfd: pytest.CaptureFixture[str]) -> None:
    config = to_plain(compose(f"model={model}", "dataset.size=64", "run_dir=x"))
    svg = network.draw(make(config["model"]["net"]), (64, 64))
    texts = [
        str(element.text).strip() for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")
    ]
    assert "(1, 3, 64, 64)" in texts
    assert capfd.readouterr().err == ""
    if not model.startswith("vgg"):
        assert "(1, 1, 64, 64)" in texts
    if model == "unet":
        assert sum(text == "ConvBlock" for text in texts) == 9
        assert "(1, 512, 4, 4)" in texts
        width = re.search(rb'<svg width="(\d+)pt"', svg)
        assert width is not None
        assert float(width[1]) < 1050  # 1400 pixels


def test_a_run_has_its_network_as_a_picture(tiny_run: Path) -> None:
    assert b"ConvBlock" in (tiny_run / "model.svg").read_bytes()


def test_a_network_that_cannot_be_drawn_costs_nothing_but_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(net: Any, size: int) -> None:
        raise RuntimeError("no such thing on meta")

    from segkit.train import train

    monkeypatch.setattr(network, "draw", broken)
    train(compose(*TINY, "trainer.max_epochs=1", f"run_dir={tmp_path}/run"))
    assert not (tmp_path / "run" / "model.svg").exists()
