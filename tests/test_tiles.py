"""Large pictures in tiles: where tiles lie, what they count, and that the whole is what one pass would give."""

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.geometry.resizing import stretch
from segkit.geometry.windows import Canvas, fade, spread_tiles
from segkit.models.presence import UNetClassifier
from segkit.models.unet import UNet
from segkit.models.views import Views
from segkit.runs.together import Ensemble
from segkit.tasks.seeing import InputMode, choose_tiles, find_stride, see
from segkit.tasks.segmenter import Segmenter
from segkit.tasks.tiles import Held, Tiles, measure_light, see_tiles

DRAW = np.random.default_rng(0)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Blurred noise with a light and a dark side."""
    noise = cv2.GaussianBlur(DRAW.integers(0, 256, (height, width, 3)).astype(np.float32), (0, 0), 2)
    return np.clip(3 * (noise - 128) + np.linspace(60, 200, width)[:, None], 0, 255).astype(np.uint8)


def segmenter(net: nn.Module, classes: tuple[str, ...] = ("crack",), **more: Any) -> Segmenter:
    return Segmenter(net, classes, mean=[0.5] * 3, std=[0.5] * 3, **more).eval()


def sharp(net: nn.Module, gain: float = 8) -> nn.Module:
    """A network with random weights whose logits span several units."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
    last = [module for module in net.modules() if isinstance(module, nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight *= gain
    return net


class Pooling(nn.Module):
    """Convolutions, a pooling by 4 and back. An output depends on pixels at most 13 away: 1 for each of two 3×3
    convolutions at full size, 4 for the one between, and up to 3 within a block before it and after it."""

    stride = 4

    def __init__(self, out: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(16, out, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % 4, 0, -height % 4), mode="replicate")
        shallow = self.first(padded).relu()
        deep = F.interpolate(self.deep(F.max_pool2d(shallow, 4)).relu(), scale_factor=4)
        logits: Tensor = self.last(torch.cat([shallow, deep], 1))
        return logits[..., :height, :width]


def untiled(task: Segmenter, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    found = see(task, [image], InputMode("native", (64, 64)))[0].probabilities
    assert found is not None
    return found.numpy()


def tiled(task: Segmenter, image: NDArray[np.uint8], tiles: Tiles) -> NDArray[np.float32]:
    bands = [band.probabilities for band in see_tiles(task, Held(image), tiles)]
    return np.concatenate([band.numpy() for band in bands if band is not None], 1)


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "stride"),
    [(1000, 128, 32, 32), (129, 128, 32, 32), (170, 128, 32, 32), (9, 16, 4, 4)],
)
@pytest.mark.parametrize("shrink", [False, True])
def test_tiles_cover_a_side_and_share_enough(length: int, tile: int, overlap: int, stride: int, shrink: bool) -> None:
    found = spread_tiles(length, tile, overlap, stride, shrink)
    assert found[0][0] == 0
    assert found[-1][1] == length
    for (start, end), (after, _) in pairwise(found):
        assert after % stride == start % stride == 0
        assert (end - start == tile) if not shrink else (end - start <= tile)
        assert end - after >= overlap
    assert found[-1][1] - found[-1][0] < tile + stride
    assert len(found) == len(spread_tiles(length, tile, overlap, stride))


def test_tiles_by_hand() -> None:
    assert spread_tiles(100, 40, 10, 10) == [(0, 40), (30, 70), (60, 100)]
    assert spread_tiles(105, 40, 10, 10) == [(0, 40), (30, 70), (60, 105)]
    assert spread_tiles(90, 40, 10, 10) == [(0, 40), (20, 60), (50, 90)]
    assert spread_tiles(80, 60, 10, 10) == [(0, 60), (20, 80)]
    assert spread_tiles(80, 60, 10, 10, shrink=True) == [(0, 50), (30, 80)]


def test_weights_fade_and_end_before_an_inner_border() -> None:
    first, middle = fade((0, 16), 40, 3), fade((12, 28), 40, 3)
    assert (first[:3] > 0).all()
    assert first[-3:].tolist() == middle[:3].tolist() == middle[-3:].tolist() == [0, 0, 0]
    assert float(middle[7]) == float(middle[8]) == middle.max()
    assert float(middle[8] / middle[10]) == pytest.approx(np.exp((2.5**2 - 0.5**2) / 2 / 2**2))


def test_a_canvas_holds_open_rows_alone() -> None:
    canvas = Canvas(1, 3, torch.device("cpu"))
    canvas.open(2)
    canvas.add(torch.full((1, 2, 2), 4.0), 0, 0, torch.tensor([[1.0, 1.0], [1.0, 3.0]]))
    canvas.add(torch.full((1, 2, 2), 8.0), 0, 1, torch.ones(2, 2))
    mean, counts = canvas.close(1)
    assert mean.tolist() == [[[4, 6, 8]]]
    assert counts.all()
    assert canvas.total.shape == (1, 1, 3)
    canvas.open(3)
    mean, counts = canvas.close(3)
    assert mean.tolist() == [[[4, 5, 8], [0, 0, 0]]]
    assert counts.tolist() == [[True] * 3, [False] * 3]


@pytest.mark.parametrize("size", [(37, 50), (1200, 90), (20, 31), (21, 31)])
def test_bands_are_stretched_as_the_whole_is(size: tuple[int, int]) -> None:
    whole = torch.rand(2, 21, 31)
    bands = stretch((whole[:, start:end] for start, end in ((0, 1), (1, 9), (9, 10), (10, 21))), 21, size)
    expected = F.interpolate(whole[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(torch.cat([*bands], 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(203, 190), (128, 64), (50, 300)])
@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("classes", [("crack",), ("ground", "a", "b")])
def test_the_whole_is_what_one_pass_gives(shape: tuple[int, int], standardise: bool, classes: tuple[str, ...]) -> None:
    """The field of view, 13 pixels, fits into 3/8 of the overlap, 15."""
    task = segmenter(sharp(Pooling(len(classes))), classes, standardise=standardise)
    image = picture(*shape)
    expected = untiled(task, image)
    assert expected.std() > 0.1
    found = tiled(task, image, Tiles((96, 96), 40, 4, (1, 1), shrink=shape[0] == 203))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_segkit_network_with_a_small_field_of_view() -> None:
    net = UNet(1, [4, 8, 8])
    task, image = segmenter(sharp(net, 3)), picture(301, 275)
    found = tiled(task, image, Tiles((128, 128), 64, find_stride(net), (1, 1)))
    assert np.abs(found - untiled(task, image)).max() < 1e-3


def test_tiles_that_do_not_begin_where_the_network_pools_differ() -> None:
    """Why tiles begin at multiples of the network's stride."""
    task, image = segmenter(sharp(Pooling())), picture(203, 190)
    found = tiled(task, image, Tiles((98, 98), 42, 7, (1, 1)))
    assert np.abs(found - untiled(task, image)).max() > 1e-2


def test_scaled_pictures_are_what_one_pass_gives_at_their_own_size() -> None:
    task, image = segmenter(sharp(Pooling())), picture(211, 333)
    how = InputMode("native", (64, 64), 0.6)
    expected = see(task, [image], how)[0]
    found = see(task, [image], how._replace(tiles=Tiles((64, 64), 40, 4, (0.6, 0.6))))[0]
    assert expected.probabilities is not None
    assert found.probabilities is not None
    torch.testing.assert_close(found.probabilities, expected.probabilities, atol=1e-5, rtol=0)
    assert found.scale == pytest.approx(expected.scale)


def test_views_go_with_tiles() -> None:
    task, image = segmenter(Views(sharp(Pooling()), "d4")), picture(200, 188)
    np.testing.assert_allclose(tiled(task, image, Tiles((96, 96), 40, 4, (1, 1))), untiled(task, image), atol=1e-5)


def test_light_is_of_the_whole_picture() -> None:
    image = picture(2100, 40)
    light = measure_light(Held(image))
    np.testing.assert_allclose(light.mean.flatten(), image.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(light.std.flatten(), image.std((0, 1)), rtol=1e-5)
    flat = measure_light(Held(np.full((1500, 30, 3), 77, np.uint8)))
    np.testing.assert_allclose(flat.std.flatten(), 0, atol=1e-3)


def test_a_member_of_an_ensemble_sees_a_tile_of_any_size_at_its_own_scale() -> None:
    """The last tile of a row may be larger than the others, and that of a thin picture smaller."""
    seen = list[torch.Size]()

    class Looking(Pooling):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image.shape[2:])
            return super().forward(image)

    together = Ensemble([segmenter(Looking()), segmenter(Looking())], [(1, 1), (0.5, 0.25)])
    out = together(torch.rand(1, 3, 30, 80))
    assert seen == [(30, 80), (15, 20)]
    assert out.masks is not None
    assert out.masks.shape == (1, 1, 30, 80)


def test_a_closed_gate_decodes_no_tile_and_the_picture_has_the_highest_presence() -> None:
    """The class is there where the picture is bright."""
    torch.manual_seed(0)
    net = UNetClassifier(1, [4, 8], hidden=[])
    task = segmenter(net)
    image = np.zeros((64, 160, 3), np.uint8)
    image[:, 100:] = 255
    tiles = Tiles((64, 64), 16, 2, (1, 1))
    windows = torch.stack([torch.from_numpy(image[:, start : start + 64]).permute(2, 0, 1) for start in (0, 48, 96)])
    presence = task.detect(windows).presence
    assert presence is not None
    presences = presence.sigmoid().tolist()
    assert presences[0] != presences[2]
    net.gate = (min(presences) + max(presences)) / 2
    bands = [*see_tiles(task, Held(image), tiles)]
    assert bands[-1].presence == pytest.approx(max(presences), abs=1e-6)
    probabilities = torch.cat([band.probabilities for band in bands if band.probabilities is not None], 1)[0]
    closed = int(np.argmin(presences))
    only = slice(0, 48) if closed == 0 else slice(112, 160)  # which no other tile shows
    assert (probabilities[:, only] == 0).all()
    assert (probabilities > 0).any()


def chosen(how: InputMode, tile: Any, net: nn.Module | None = None, **facts: Any) -> Tiles | None:
    return choose_tiles(segmenter(net or UNet(1, [4, 8, 8]), facts=facts), how, tile)


def test_a_run_of_resized_pictures_has_tiles_as_large_as_those() -> None:
    """Trained on 480×320 at 128×256: a quarter of the height, and 0.8 of the width."""
    how = InputMode("resize", (128, 256))
    facts: dict[str, Any] = {"pictures": {"typical": [320, 480], "largest": 200_000}}
    found = chosen(how, "auto", **facts)
    assert found is not None
    assert found == Tiles((128, 256), 32, 4, (128 / 320, 256 / 480), 400_000)
    assert not found.cut((500, 800))
    assert found.cut((501, 800))
    assert found.describe() == (
        "pictures of more than 400,000 pixels are predicted in tiles of 320×480 pixels, "
        "which the network sees as 128×256"
    )
    assert chosen(how, "auto") == Tiles((128, 256), 32, 4, (1, 1), 16 * 128 * 256)
    assert chosen(how, 512, **facts) == Tiles((128, 256), 32, 4, (0.5, 0.5))
    assert chosen(how, None) is None


def test_a_run_at_native_scale_keeps_it() -> None:
    assert chosen(InputMode("native", (96, 96)), "auto") == Tiles((768, 768), 32, 4, (1, 1), 768**2, True)
    assert chosen(InputMode("native", (96, 96), 0.5), 301) == Tiles((152, 152), 32, 4, (0.5, 0.5), 0, True)
    assert chosen(InputMode("grid", (96, 96)), "auto") == Tiles((96, 96), 24, 4, (1, 1), 16 * 96**2)
    gated = UNetClassifier(1, [4, 8], hidden=[])
    assert chosen(InputMode("native", (96, 64)), "auto", gated) == Tiles((96, 64), 16, 2, (1, 1), 96 * 64)
    with pytest.raises(ValueError, match=r"tile=3: tiles of 4×4 pixels that share 4 .* a larger tile, 8 at least"):
        chosen(InputMode("native", (96, 96)), 3)


def test_the_overlap_is_in_pixels_of_the_picture() -> None:
    task, how = segmenter(UNet(1, [4, 8, 8]), facts={}), InputMode("native", (96, 96), 0.5)
    found = choose_tiles(task, how, 400, 101)
    assert found is not None
    assert (found.size, found.overlap) == ((200, 200), 52)
    with pytest.raises(ValueError, match=r"tile=400 overlap=210: tiles of 400×400 pixels that share 216"):
        choose_tiles(task, how, 400, 210)


def test_strides() -> None:
    assert find_stride(Views(UNet(1, [4, 8, 8]), "mirror")) == 4
    assert find_stride(UNetClassifier(1, [4, 8], hidden=[])) == 2
    assert find_stride(nn.Sequential(nn.Conv2d(3, 1, 3, stride=2))) == 32
