"""Test-time augmentation: views of a picture, their average, and where it is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import results, segkit
from torch import Tensor, nn

from segkit import VIEWS
from segkit.inference.predictor import Predictor
from segkit.models.views import Views, flip, flip_back


class Ramp(nn.Module):
    """Logits that depend on where a pixel is: its column plus ten times its row, per channel times its number."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = (torch.arange(float(side)) for side in image.shape[2:])
        ramp = (10 * rows[:, None] + columns) / 8
        return torch.stack([ramp * number for number in range(1, self.channels + 1)])[None] + 0 * image[:, :1]


def test_the_views_are_the_symmetries_of_a_square() -> None:
    picture = torch.arange(12.0).view(1, 1, 3, 4)
    seen = [flip(picture, number)[0, 0].numpy() for number in range(8)]
    plain = picture[0, 0].numpy()
    expected = [
        plain,
        plain[:, ::-1],
        plain[::-1],
        plain[::-1, ::-1],
        plain.T,
        plain[:, ::-1].T,
        plain[::-1].T,
        plain[::-1, ::-1].T,
    ]
    for one, other in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    for number in range(8):
        assert torch.equal(flip_back(flip(picture, number), number), picture)


@pytest.mark.parametrize(("how", "count"), [("mirror", 2), ("flips", 4), ("d4", 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_are_averaged_pixel_by_pixel(how: str, count: int, channels: int) -> None:
    image = torch.zeros(1, 3, 3, 4)
    net = Ramp(channels)

    def probabilities(size: tuple[int, int]) -> np.ndarray:
        logits = net(torch.zeros(1, 3, *size))[0].double().numpy()
        raised = np.exp(logits)
        return np.asarray(raised / (1 + raised) if channels == 1 else raised / raised.sum(0))

    level, upright = probabilities((3, 4)), probabilities((4, 3)).transpose(0, 2, 1)
    seen = [turned[:, ::down, ::right] for turned in (level, upright) for down in (1, -1) for right in (1, -1)]
    wanted = {"mirror": [seen[0], seen[1]], "flips": seen[:4], "d4": seen}[how]
    assert len(wanted) == count == VIEWS[how]
    out = Views(net, how)(image)
    found = out.sigmoid() if channels == 1 else out.softmax(1)
    np.testing.assert_allclose(found[0].numpy(), np.mean(wanted, 0), atol=2e-6)


def test_certain_pixels_stay_certain_and_finite() -> None:
    class Certain(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.tensor([1e4, -1e4]).view(1, 1, 1, 2).expand(len(image), 1, 2, 2)

    out = Views(Certain(), "flips")(torch.zeros(1, 3, 2, 2))
    assert out.abs().max() < 1e-3  # half of the views say yes
    alone = Views(nn.Sequential(nn.Conv2d(3, 1, 1)), "mirror")
    nn.init.zeros_(alone.net[0].weight)  # type: ignore[index]
    nn.init.constant_(alone.net[0].bias, 1e4)  # type: ignore[index]
    logits = alone(torch.zeros(1, 3, 2, 2))
    assert torch.isfinite(logits).all()
    assert logits.min() > 10


def test_an_unknown_view_is_refused() -> None:
    with pytest.raises(ValueError, match="tta=turns: expected one of none, mirror, flips, d4"):
        Views(Ramp(), "turns")


def test_a_run_tests_and_predicts_with_its_views(tiny_run: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    plain, mirrored = Predictor.load(tiny_run), Predictor.load(tiny_run, tta="mirror")
    one, other = (np.asarray(plain(np.ascontiguousarray(view)).probabilities) for view in (image, image[:, ::-1]))
    np.testing.assert_allclose(
        np.asarray(mirrored(image).probabilities), (one + other[:, :, ::-1]) / 2, atol=2e-3
    )  # bfloat16


def test_a_training_is_tested_in_its_views_and_evaluated_in_others(tmp_path: Path) -> None:
    words = ["dataset.size=32", "dataset.counts=[8,4,8]", "model.net.widths=[4,8]", "trainer.max_epochs=2", "loss=bce"]
    done = segkit(*words, "tta=flips", "precision=32-true", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "in 4 views of each picture" in done.stderr
    scores = dict[str, tuple[str, float]]()
    for word in ("pictures=0", "tta=none", "tta=flips"):
        done = segkit("run=run", word, f"hydra.run.dir=e{len(scores)}", module="evaluate", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = results(tmp_path / f"e{len(scores)}")
        scores[word] = (found["tta"], found["metrics"]["test/loss"])
    tested = results(tmp_path / "run")["metrics"]["test/loss"]
    assert [how for how, _ in scores.values()] == ["flips", "none", "flips"]
    assert scores["pictures=0"][1] == pytest.approx(tested, rel=1e-6)
    assert scores["tta=flips"][1] == pytest.approx(tested, rel=1e-6)
    assert scores["tta=none"][1] != pytest.approx(tested, rel=1e-6)


def test_views_of_a_network_that_says_whether_the_class_is_there_are_refused(tmp_path: Path) -> None:
    words = ["dataset.size=32", "dataset.counts=[4,2,2]", "model=unet_classifier", "model.net.widths=[4,8]"]
    words += ["loss=joint", "dataset.presence_threshold=0.001", "model.net.hidden=[8]", "trainer.max_epochs=1"]
    done = segkit(*words, "tta=flips", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode != 0
    assert "tta=flips averages masks, and UNetClassifier says whether the class is there: leave tta out." in done.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()  # said before the training
