"""The drawn data set: the sample contract, what pictures depend on, and what the masks mean."""

import time
from typing import Any

import numpy as np
import pytest
import torch

from segkit.datasets.common import Split
from segkit.datasets.drawn.cracks import carve, roughen_borders
from segkit.datasets.drawn.spots import shape_depth
from segkit.datasets.drawn.surfaces import fractal, smoothstep
from segkit.datasets.synthetic import KINDS, Synthetic

SHAPES = ["background", "disc", "square", "triangle", "border"]


def make(kind: Any = "cracks", split: Split = "train", **settings: Any) -> Synthetic:
    settings = {"picture_size": 48, "counts": [12, 6, 5], "classes": list(KINDS[kind].classes), **settings}
    return Synthetic(split=split, kind=kind, **settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [16, 48, 67, 128])
def test_sample_contract(kind: Any, size: int) -> None:
    data = make(kind, picture_size=size)
    for item in (data[index] for index in range(len(data))):
        assert item["image"].dtype == item["mask"].dtype == torch.uint8
        assert item["image"].shape == (3, size, size)
        assert item["mask"].shape == (size, size) == data.shape(0)
        assert item["mask"].max() < max(2, len(data.classes))


def test_names_and_counts() -> None:
    assert [len(make(split=split)) for split in ("train", "val", "test")] == [12, 6, 5]
    assert make(split="val").names[:2] == ["cracks-val-00000", "cracks-val-00001"]
    assert make()[3]["name"] == "cracks-train-00003"
    assert make().classes == ("crack",)
    with pytest.raises(IndexError):
        make()[12]


def same(one: Any, other: Any) -> bool:
    return torch.equal(one["image"], other["image"]) and torch.equal(one["mask"], other["mask"])


@pytest.mark.parametrize("kind", KINDS)
def test_item_depends_on_seed_split_and_index_alone(kind: Any) -> None:
    data = make(kind)
    backwards = [data[index] for index in reversed(range(12))][::-1]
    torch.manual_seed(1)
    np.random.seed(1)
    again = make(kind, counts=[20, 0, 0])
    assert all(same(backwards[index], again[index]) for index in range(12))
    assert not same(data[0], make(kind, split_seed=1)[0])


def test_no_picture_is_in_two_splits_or_twice() -> None:
    pictures = [make(split=split)[i]["image"] for split in ("train", "val", "test") for i in range(5)]
    assert len({picture.numpy().tobytes() for picture in pictures}) == 15


def test_kept_pictures_are_not_the_callers_to_change() -> None:
    data = make()
    item = data[0]
    item["image"].zero_()
    item["mask"].fill_(7)
    assert same(data[0], make()[0])


def test_a_split_too_large_for_memory_is_drawn_anew() -> None:
    data = make(counts=[2**20, 0, 0])
    first = data[0]
    assert not data.kept
    assert same(first, data[0])
    assert same(first, make()[0])


def test_empty_fraction() -> None:
    def empty(fraction: float) -> float:
        data = make(counts=[60, 0, 0], empty_fraction=fraction)
        return float(np.mean([not data[index]["mask"].any() for index in range(60)]))

    assert empty(1) == 1
    assert empty(0) <= 0.1  # a crack may rarely miss the picture by chance
    assert 0.3 < empty(0.5) < 0.7  # 60 draws: standard deviation 0.065


def test_cracks_are_darker_than_their_surroundings() -> None:
    data = make(picture_size=128, counts=[60, 0, 0], empty_fraction=0)
    fractions, darker = [], []
    for index in range(60):
        image, mask = data[index]["image"].float().mean(0), data[index]["mask"].bool()
        if mask.any():
            fractions.append(float(mask.float().mean()))
            darker.append(float(image[~mask].mean() - image[mask].mean()))
    assert 0.03 < np.mean(fractions) < 0.2
    assert np.mean(np.array(darker) > 0) > 0.9
    assert np.mean(darker) > 20


def test_shapes_show_every_class_and_borders_lie_between() -> None:
    data = make("shapes", counts=[40, 0, 0], empty_fraction=0)
    masks = torch.stack([data[index]["mask"] for index in range(40)])
    assert masks.unique().tolist() == [0, 1, 2, 3, 4]
    sideways = torch.stack([masks[:, :, :-1].flatten(), masks[:, :, 1:].flatten()])
    lower, upper = sideways.amin(0), sideways.amax(0)
    assert not ((lower == 0) & (upper > 0) & (upper < 4)).any()  # only borders touch the background


def test_shape_depth_of_a_disc_is_its_distance() -> None:
    rng = np.random.default_rng(0)
    depth, shape = next((d, s) for d, s in (shape_depth(rng, 64) for _ in range(50)) if s == 1)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    # Straight up and down from the centre, the distance falls by 1 per pixel.
    assert abs(depth[row - 3, column] - (depth[row, column] - 3)) < 1
    assert shape == 1


def test_noise_is_standardised_and_smoothstep_runs_from_0_to_1() -> None:
    values = fractal(np.random.default_rng(0), 64, 16, 2, 0.7)
    assert values.dtype == np.float32
    assert (abs(values.mean()), values.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-4))
    steps = smoothstep(np.array([-1, 2, 3, 4, 9], np.float32), 2, 4)
    assert steps.tolist() == [0, 0, 0.5, 1, 1]  # t = 1/2: t²(3 − 2t) = 1/4 · 2


def test_carving_changes_nothing_far_from_the_crack() -> None:
    scene = np.full((3, 64, 64), 150, np.float32)
    canvas = np.zeros((128, 128), np.uint8)
    canvas[:, 60:68] = 255
    rng = np.random.default_rng(0)
    opening = roughen_borders(rng, canvas, 64, 2)
    carved = carve(rng, scene, opening)
    assert np.allclose(carved[..., :8], 150, atol=0.5)
    assert carved[..., 32].mean() < 140


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"kind": "shapes", "classes": ["crack"]},
            ["dataset.kind=shapes", "dataset.classes is ['crack']", "dataset.classes=[background,disc"],
        ),
        ({"classes": SHAPES}, ["dataset.kind=cracks", "draws 1 class,", "dataset.classes=[crack]"]),
        ({"classes": "crack"}, ["dataset.classes is crack", "dataset.classes=[crack]"]),
        ({"kind": "clouds"}, ["dataset.kind is 'clouds'", "cracks, lesions, shapes"]),
        ({"split": "valid"}, ["'valid'", "train, val, test"]),
        ({"counts": [3, 4]}, ["dataset.counts is [3, 4]", "dataset.counts=[400,100,100]"]),
        ({"picture_size": 8}, ["dataset.picture_size is 8", "16"]),
        (
            {"picture_size": [96, 128]},
            ["dataset.picture_size is [96, 128]", "square", "dataset.picture_size=128"],
        ),
        ({"empty_fraction": 10}, ["dataset.empty_fraction is 10", "0 to 1"]),
    ],
)
def test_messages(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        Synthetic(**{"split": "train", "kind": "cracks", "classes": ["crack"], **settings})
    assert all(word in str(error.value) for word in words), str(error.value)


def test_drawing_is_quick() -> None:
    data = make(picture_size=128, counts=[30, 0, 0])
    start = time.process_time()
    for index in range(30):
        data[index]
    assert (time.process_time() - start) / 30 < 0.1  # about 0.01 s; room for a busy machine
