"""Draws the networks of docs/reference/models.md: `python docs/draw_models.py`; wants `pip install 'segkit[graph]'`."""

from pathlib import Path

from segkit.configs.composing import compose, to_plain
from segkit.pictures import network
from segkit.runs.making import make

SIZES = {"vit_segmenter": 224}
for model in ("unet", "unet_bilinear", "unet_levels", "segnet", "unet_classifier", "vit_segmenter"):
    side = SIZES.get(model, 256)
    net = to_plain(compose(f"model={model}", f"dataset.size={side}", "run_dir=x"))["model"]["net"]
    path = Path(__file__).parent / "img" / f"{model}.svg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(network.draw(make(net), (side, side)))
