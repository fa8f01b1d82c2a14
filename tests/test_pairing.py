"""Exchanged masks: found in pairs, and nobody accused where the masks fit or nothing can be learnt."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segkit.datasets.checking import pairing
from segkit.datasets.checking.pairing import GRID, Model, Pairs, find_exchanged, find_exchanged_among
from segkit.datasets.synthetic import KINDS, Synthetic

Pixels = NDArray[np.uint8]
Samples = list[tuple[Pixels, Pixels]]


def drawn(kind: str, count: int = 60) -> Samples:
    source = Synthetic("train", KINDS[kind].classes, kind, 96, (count, 5, 5))  # type: ignore[arg-type]
    samples = [source[number] for number in range(count)]
    return [(sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()) for sample in samples]


def exchange(samples: Samples, *pairs: tuple[int, int]) -> Samples:
    given = list(samples)
    for first, second in pairs:
        given[first], given[second] = (samples[first][0], samples[second][1]), (samples[second][0], samples[first][1])
    return given


@pytest.mark.parametrize("kind", KINDS)
def test_exchanged_masks_are_found_in_pairs(kind: str) -> None:
    samples = drawn(kind)
    full = [number for number, (_, mask) in enumerate(samples) if mask.any()]
    pairs = [(full[3], full[20]), (full[11], full[30])]
    found = find_exchanged(exchange(samples, *pairs), len(KINDS[kind].classes))
    assert sorted((one.first, one.second) for one in found) == sorted(pairs)
    assert all(one.score < 0 for one in found)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_that_fit_are_left_alone(kind: str) -> None:
    assert find_exchanged(drawn(kind), len(KINDS[kind].classes)) == []


def test_the_same_twice() -> None:
    samples = exchange(drawn("lesions", 30), (1, 2))
    assert find_exchanged(samples, 1) == find_exchanged(iter(samples), 1)


def test_nothing_is_said_of_masks_that_pictures_do_not_tell() -> None:
    rng = np.random.default_rng(0)

    def unrelated() -> Iterator[tuple[Pixels, Pixels]]:
        for _ in range(60):
            picture = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            yield picture, (np.kron(rng.random((6, 6)), np.ones((8, 8))) > 0.5).astype(np.uint8)

    assert find_exchanged(unrelated(), 1) == []


@pytest.mark.parametrize("level", [0, 1, 255])
def test_masks_that_are_all_the_same(level: int) -> None:
    """Empty, full, or all unknown: exchanged or not, nobody could tell."""
    samples = [(picture, np.full_like(mask, level)) for picture, mask in drawn("lesions", 30)]
    assert find_exchanged(samples, 1) == []


def test_few_pairs_and_none() -> None:
    assert find_exchanged([], 1) == []
    assert find_exchanged(exchange(drawn("lesions", 10), (0, 1)), 1) == []


def test_pictures_of_all_sizes() -> None:
    samples = drawn("lesions", 30)
    samples[4] = samples[4][0][:8, :8], samples[4][1][:8, :8]
    samples[5] = samples[5][0][:1, :90], samples[5][1][:1, :90]
    assert find_exchanged(samples, 1) == []


def test_shares_by_hand() -> None:
    """A cell is 2 pixels of 64: one of class 1 and three of class 0; and in the last all are unknown."""
    mask = np.zeros((64, 64), np.uint8)
    mask[0, 0] = 1
    mask[-2:, -2:] = 255
    share = pairing.share_out(mask, 2)
    assert share[0, 0].tolist() == [round(254 * 0.75), round(254 * 0.25)]
    assert share[-1, -1].tolist() == [255, 255]
    assert share[5, 5].tolist() == [254, 0]


def test_agreements_by_hand() -> None:
    """Predictions and masks of two pictures: differences (1, 0) and (1, 0) agree; exchanged, they are opposed."""
    said = np.array([[1, 0], [0, 0]], np.float32)
    assert pairing.agreements(said, said, (0, 0))[0, 1] == pytest.approx(1)
    assert pairing.agreements(said, said[::-1], (0, 0))[0, 1] == pytest.approx(-1)
    assert pairing.agreements(said, said, (2, 2))[0, 1] == pytest.approx(0.25)  # such small ones say less


def test_of_many_classes_fewer_pictures_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, sizes = np.random.default_rng(0), list[int]()
    features = rng.integers(-99, 99, (60, GRID, GRID, 2)).astype(np.int8)
    shares = rng.integers(0, 254, (60, GRID, GRID, 50), np.uint8)
    whole = Model.residuals

    def residuals(model: Model, numbers: Any) -> Any:
        sizes.append(len(numbers))
        return whole(model, numbers)

    monkeypatch.setattr(Model, "residuals", residuals)
    monkeypatch.setattr(pairing, "VALUES", 25 * GRID**2 * 50)
    find_exchanged_among(Pairs(features, shares))
    assert max(sizes) == 25


def test_masks_that_are_the_same_are_not_exchanged() -> None:
    """Most pictures of a factory show no defect."""
    samples = [(picture, mask * (number % 4 == 0)) for number, (picture, mask) in enumerate(drawn("cracks"))]
    assert find_exchanged(samples, 1) == []
