"""Shapes to pixels and back, counted by hand; and the codes of masks, against those of others."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from segkit.formats.brush import decode_brush, encode_brush
from segkit.formats.model import FormatError, Points, Polygon, Shape
from segkit.formats.outlines import find_outlines, signed_area
from segkit.formats.raster import draw, ellipse, rectangle
from segkit.formats.runs import counts_to_text, decode_runs, encode_runs, text_to_counts

SIZE = (40, 60)


def painted(*parts: Polygon, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, np.bool_)
    for top, left, pixels in draw(Shape("a", parts, ""), size):
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] |= pixels
    return mask


def points(*pairs: tuple[float, float]) -> Points:
    return np.array(pairs, float)


def test_a_rectangle_between_pixels_has_their_number() -> None:
    mask = painted(Polygon(rectangle([10, 5, 20, 10])))
    assert mask.sum() == 200
    assert mask[5:15, 10:30].all()


def test_a_pixel_is_inside_if_its_centre_is() -> None:
    # centres at 0.5, 1.5, 2.5, …: the square from 0.6 to 2.6 holds 1.5 and 2.5, in both directions
    assert np.argwhere(painted(Polygon(rectangle([0.6, 0.6, 2, 2])))).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    # what holds no centre has no pixel
    assert not painted(Polygon(rectangle([0.6, 0.6, 0.8, 0.8]))).any()


def test_a_triangle_by_hand() -> None:
    # (0, 0), (4, 0), (0, 4): in row r, the centres with x < 4 − (r + 0.5), or x + 0.5 < 3.5 − r: 3, 2, 1, 0 pixels,
    # and the centre on the slanted edge is right of what is inside
    assert painted(Polygon(points((0, 0), (4, 0), (0, 4)))).sum(axis=1)[:4].tolist() == [3, 2, 1, 0]


def test_polygons_with_a_common_edge_share_no_pixel_and_leave_none_out() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = sorted(rng.uniform(1, 59, 9)), rng.uniform(5, 35, 9)
        line = [(0, 20), *zip(x, y, strict=True), (60, 20)]
        upper, lower = (
            painted(Polygon(points((60, 0), (0, 0), *line))),
            painted(Polygon(points((60, 40), (0, 40), *line))),
        )
        assert not (upper & lower).any()
        assert (upper | lower).all()


def test_what_is_enclosed_twice_is_outside() -> None:
    # around the square of 10×10 and once more around its middle of 4×4, in one line
    line = points((0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (3, 3), (7, 3), (7, 7), (3, 7), (3, 3))
    assert painted(Polygon(line)).sum() == 100 - 16


def test_holes_are_cut_and_parts_are_joined() -> None:
    assert painted(Polygon(rectangle([10, 10, 20, 20]), (rectangle([15, 15, 5, 5]),))).sum() == 400 - 25
    # a hole that reaches over the edge takes what is inside alone
    assert painted(Polygon(rectangle([10, 10, 20, 20]), (rectangle([25, 25, 15, 15]),))).sum() == 400 - 25
    assert painted(Polygon(rectangle([0, 0, 10, 10])), Polygon(rectangle([5, 0, 10, 10]))).sum() == 150


def test_what_reaches_out_of_the_picture_is_clipped() -> None:
    assert painted(Polygon(rectangle([-5, -5, 10, 10]))).sum() == 25
    assert painted(Polygon(rectangle([55, 35, 100_000, 100_000]))).sum() == 25
    assert painted(Polygon(rectangle([-100, -100, 1000, 1000]))).all()
    assert not painted(Polygon(rectangle([100, 0, 10, 10]))).any()


def test_circles_and_turned_shapes_have_their_area() -> None:
    for radius in (5.0, 17.3):
        assert painted(Polygon(ellipse([30, 20, radius, radius]))).sum() == pytest.approx(np.pi * radius**2, rel=0.02)
    flat = painted(Polygon(ellipse([30, 20, 20, 5])))
    # a quarter of a turn exchanges the axes: 10 pixels wide and 40 high, in a picture of 40
    assert (painted(Polygon(ellipse([30, 20, 20, 5], 90)))[:, 10:50] == flat[:, 10:50].T).mean() > 0.99
    # clockwise about the corner, a rectangle to the right of it comes to lie below and left of it
    assert np.argwhere(painted(Polygon(rectangle([30, 10, 20, 5], 90)))).min(axis=0).tolist() == [10, 25]
    assert np.argwhere(painted(Polygon(rectangle([20, 15, 20, 10], 90, "centre")))).min(axis=0).tolist() == [10, 25]


def test_drawing_against_opencv() -> None:
    """OpenCV draws the outline as well, so that polygons of whole pixels agree but for it."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        corners = rng.integers(5, 35, (5, 2))
        theirs = np.zeros(SIZE, np.uint8)
        cv2.fillPoly(theirs, [corners.astype(np.int32)], 1)
        border = np.zeros(SIZE, np.uint8)
        for one, other in pairwise([*corners.tolist(), corners[0].tolist()]):
            cv2.line(border, one, other, 1, thickness=3)
        assert ((painted(Polygon(corners.astype(np.float64) + 0.5)) == theirs) | (border > 0)).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_coordinates_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(FormatError, match="a coordinate is"):
        painted(Polygon(points((0, 0), (bad, 0), (0, 9))))
    for made in (rectangle([0, 0, bad, 1]), ellipse([0, 0, bad, 1]), ellipse([bad, 0, 1, 1])):
        with pytest.raises(FormatError, match="a coordinate is"):
            painted(Polygon(made))


def test_a_polygon_that_would_take_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    zigzag = np.array([(at % 60, 40 * (at % 2)) for at in range(1001)], float)
    painted(Polygon(zigzag))
    monkeypatch.setattr("segkit.formats.raster.MOST_CUTS", 10_000)
    with pytest.raises(FormatError, match=r"its 1,001 points cross 40,000 rows; expected at most 10,000"):
        painted(Polygon(zigzag))


def blobs(seed: int, size: tuple[int, int] = (90, 120)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random(size), (0, 0), rng.uniform(0.6, 6))
    return np.asarray(noise > np.quantile(noise, rng.uniform(0.3, 0.9)))


@pytest.mark.parametrize("tolerance", [0.0, 0.35])
def test_outlines_filled_again_are_the_mask(tolerance: float) -> None:
    for seed in range(20):
        mask = blobs(seed)
        outlines = find_outlines(mask, "a", tolerance)
        assert (painted(*(one.polygon for one in outlines), size=mask.shape) == mask).all()
        assert len(outlines) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


def test_a_larger_tolerance_has_fewer_points() -> None:
    mask = np.zeros((200, 200), np.uint8)
    cv2.circle(mask, (100, 100), 80, 1, -1)
    few, many = (find_outlines(mask > 0, "a", tolerance)[0].polygon.outer for tolerance in (2.0, 0.0))
    assert len(few) <= 20 < 200 < len(many)
    again = painted(Polygon(few), size=mask.shape)
    assert (again & (mask > 0)).sum() / (again | (mask > 0)).sum() > 0.97


def test_outlines_by_hand() -> None:
    mask = np.zeros((6, 6), np.bool_)
    assert find_outlines(mask, "a") == []
    mask[1:4, 1:4] = True
    mask[2, 2] = False
    mask[4, 4] = True  # at a corner of the ring: the same object
    (one,) = find_outlines(mask, "ring", 0)
    assert (one.label, one.left, one.top, one.pixels.sum()) == ("ring", 1, 1, 9)
    (hole,) = one.polygon.holes
    # through the middles of the sides of the pixel (2, 2): a square on its corner, of half the area, counterclockwise
    assert signed_area(hole) == -0.5
    assert signed_area(one.polygon.outer) > 0


def test_runs_by_hand() -> None:
    mask = np.array([[0, 1, 1], [0, 1, 0]], np.bool_)
    assert encode_runs(mask) == [1, 2, 1, 1, 1]
    assert encode_runs(mask, by_column=True) == [2, 3, 1]
    assert encode_runs(~mask) == [0, 1, 2, 1, 1, 1]
    assert (decode_runs([2, 3, 1], (2, 3), by_column=True) == mask).all()
    # 2, 3, 1 are single letters from "0"; a fourth count of 5 would be said as 5 − 3
    assert counts_to_text([2, 3, 1]) == "231"
    assert counts_to_text([2, 3, 1, 5]) == "2312"
    # 100 is 4 + 3·32: the lower five bits with 32 for more, then 3
    assert counts_to_text([100]) == chr(48 + 4 + 32) + "3"
    # less than the one before the last: −1 is 31, all five bits
    assert text_to_counts(counts_to_text([0, 7, 3, 6])) == [0, 7, 3, 6]
    assert counts_to_text([0, 7, 3, 6])[-1] == chr(48 + 31)


def test_runs_against_pycocotools() -> None:
    theirs = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    rng = np.random.default_rng(0)
    for seed in range(60):
        mask = blobs(seed, (int(rng.integers(1, 60)), int(rng.integers(1, 60))))
        mask = mask ^ (rng.random(mask.shape) < 0.05)
        text = theirs.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert counts_to_text(encode_runs(mask, by_column=True)) == text
        assert (decode_runs(text_to_counts(text), mask.shape, by_column=True) == mask).all()


def test_polygons_against_pycocotools() -> None:
    """Its own rule for edges differs, by less than a pixel."""
    theirs = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    for seed in range(20):
        for one in find_outlines(blobs(seed), "a"):
            if one.pixels.sum() >= 200 and not one.polygon.holes:
                (code,) = theirs.frPyObjects([one.polygon.outer.ravel().tolist()], 90, 120)
                other, mine = theirs.decode(code) > 0, painted(one.polygon, size=(90, 120))
                kernel = np.ones((3, 3), np.uint8)
                edge = cv2.dilate(mine.astype(np.uint8), kernel) != cv2.erode(mine.astype(np.uint8), kernel)
                assert ((mine == other) | edge).all()


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [
        ([5, 5], (2, 3), "its runs have 10 pixels in all; expected 6, for 3×2"),
        ([3], (2, 3), "its runs have 3 pixels"),
        ([7, -1], (2, 3), "a run has -1 pixels"),
        ([10**30, 1], (2, 3), "its runs have 1,000,0"),
        ([0, 10**18], (2, 3), "its runs have"),
    ],
)
def test_runs_that_do_not_fill_the_picture(counts: list[int], size: tuple[int, int], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode_runs(counts, size)


@pytest.mark.parametrize("text", ["a b", "é", "o" * 40])
def test_a_damaged_text_of_runs(text: str) -> None:
    with pytest.raises(FormatError, match="its text"):
        text_to_counts(text)


# What label-studio-converter makes of a picture of 5×4 with three pixels in two rows.
PUBLISHED = [0, 0, 0, 80, 57, 27, 254, 23, 0, 183, 255, 56, 5, 191, 252, 46, 0]


def test_brush_strokes_as_published() -> None:
    mask = np.zeros((4, 5), np.bool_)
    mask[1:3, 1:4] = True
    assert (decode_brush(PUBLISHED, (4, 5)) == mask).all()
    assert encode_brush(mask) == PUBLISHED


def test_brush_strokes_by_hand() -> None:
    # 4 values; of 1 bit; lengths of 1 bit each; a block of single values (0), the first length (00), 2 of them (1): 0,
    # 0; and a run (1) with the second length (01), 2 of it (1), of ones (1)
    bits = f"{4:032b}" + "00000" + 4 * "0000" + "0" + "00" + "1" + "00" + "1" + "01" + "1" + "1"
    code = [int(bits.ljust(72, "0")[at : at + 8], 2) for at in range(0, 72, 8)]
    assert decode_brush(code, (1, 1)).tolist() == [[True]]
    for seed in range(20):
        mask = blobs(seed, (31, 47))
        assert (decode_brush(encode_brush(mask), mask.shape) == mask).all()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (PUBLISHED[:-4], "is cut off"),
        ([], "is cut off"),
        ([255] * 4 + PUBLISHED[4:], r"has 4,294,967,295 values; expected 80, 4 for each pixel of 5×4"),
        ([*PUBLISHED[:7], 255, *PUBLISHED[8:]], "has more than the 80 values"),
    ],
)
def test_damaged_brush_strokes(code: list[int], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode_brush(code, (4, 5))
