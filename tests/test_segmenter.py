"""What predicts without what trains: the same answers, and none of the imports."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segkit.inference.predictor import Predictor
from segkit.runs.loading import load
from segkit.runs.segmenters import load_segmenter
from segkit.tasks.segmentation import SegmentationTask
from segkit.tasks.segmenter import Segmenter

HEAVY = (
    "lightning",
    "torchmetrics",
    "timm",
    "segmentation_models_pytorch",
    "torchvision",
    "torch._dynamo",
    "matplotlib",
)


def test_a_segmenter_answers_as_the_task_does(tiny_run: Path) -> None:
    segmenter, task = load_segmenter(str(tiny_run)), load(str(tiny_run))
    assert type(segmenter) is Segmenter
    assert isinstance(task, SegmentationTask)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 40, 32), dtype=np.uint8))
    with torch.no_grad():
        one, other = segmenter.detect(image).masks, task.detect(image).masks
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)
    assert torch.equal(segmenter.label(segmenter.activated(one)), task.label(task.activated(other)))
    for name in ("classes", "threshold", "temperature", "smallest", "facts"):
        assert getattr(segmenter, name) == getattr(task, name)


def test_a_prediction_imports_nothing_that_it_does_not_need(tiny_run: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    code = f"""
import sys
sys.argv = ["predict", {f"run={tiny_run}"!r}, "input=a.png", "output=out"]
import segkit.predict
segkit.predict.main()
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "out" / "masks" / "a.png").is_file()


def test_weights_that_a_network_lacks_are_told(tiny_run: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["net.more.weight"] = torch.zeros(1)
    torch.save(checkpoint, tmp_path / "more.ckpt")
    with pytest.raises(ValueError, match=r"(?s)its weights are another network's:.*net\.more\.weight"):
        Predictor.load(tmp_path / "more.ckpt")
