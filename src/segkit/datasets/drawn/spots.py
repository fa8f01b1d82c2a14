"""Blobs to segment: skin lesions under a dermatoscope, and simple shapes of several classes."""

import math

import cv2
import numpy as np

from segkit.datasets.drawn.surfaces import (
    Array,
    Pixels,
    Rng,
    as_float,
    blur,
    channels,
    coordinates,
    fractal,
    half_plane,
    log_uniform,
    noise,
    photograph,
    rough_surface,
    smoothstep,
)

# The share of the skin's red, green and blue that remains: light brown, brown, black, red, blue-grey.
TONES = np.array(
    [[0.75, 0.6, 0.5], [0.45, 0.32, 0.28], [0.25, 0.2, 0.22], [0.85, 0.5, 0.5], [0.5, 0.5, 0.6]], np.float32
)


def draw_lesions(rng: Rng, size: int, empty: bool) -> tuple[Pixels, Pixels]:
    """A picture (size, size, 3) of skin and its mask (size, size), 1 = lesion: one irregular, fuzzy spot.

    Over it lie hairs, gel bubbles and the dark corners of the instrument, none of which is a lesion.
    """
    unit = size / 128
    skin = rng.uniform(170, 240) * channels(1, rng.uniform(0.68, 0.82), rng.uniform(0.54, 0.72))
    scene = skin * (1 + 0.04 * fractal(rng, size, 48 * unit, 2 * unit, 0.6))
    mask = np.zeros((size, size), np.uint8)
    if not empty:
        inside = lesion_depth(rng, size)
        mask = (inside > 0).astype(np.uint8)
        scene = add_pigment(rng, as_float(scene), inside)
    if rng.random() < 0.5:
        scene = add_hairs(rng, as_float(scene))
    if rng.random() < 0.4:
        scene = add_bubbles(rng, as_float(scene))
    if rng.random() < 0.4:
        scene = scene * dark_corners(rng, size)
    return photograph(rng, as_float(scene), rng.uniform(0.3, 1.2)), mask


def lesion_depth(rng: Rng, size: int) -> Array:
    """About the distance in pixels to the border of a random blob: positive inside, negative outside."""
    unit = size / 128
    rows, columns = coordinates(size)
    x, y = (rng.uniform(0.35, 0.65, 2) * size).tolist()
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.6)
    along = (columns - x) * math.cos(turn) + (rows - y) * math.sin(turn)
    aside = (rows - y) * math.cos(turn) - (columns - x) * math.sin(turn)
    radius = rng.uniform(14, 42) * unit
    bumps = rng.uniform(0.03, 0.2) * radius * fractal(rng, size, 40 * unit, 4 * unit, 0.55)
    return as_float(radius - np.hypot(along / stretch, aside * stretch**0.5) + bumps)


def add_pigment(rng: Rng, scene: Array, inside: Array) -> Array:
    """Colour the skin where `inside` is positive: brown to black or red, blotchy, with a fuzzy border."""
    size = scene.shape[-1]
    unit = size / 128
    fuzz = rng.uniform(1, 8) * unit
    cover = smoothstep(inside, -fuzz, fuzz)
    first, second = TONES[rng.choice(len(TONES), 2, replace=False)].reshape(2, 3, 1, 1)
    blotch = smoothstep(fractal(rng, size, 24 * unit, 3 * unit, 0.6), -1, 1)
    grain = 1 + rng.uniform(0.02, 0.12) * noise(rng, size, 3 * unit)
    tone = (first + blotch * (second - first)) * grain
    strength = rng.uniform(0.5, 1)
    return as_float(scene * (1 + strength * cover * (tone - 1)))


def add_hairs(rng: Rng, scene: Array) -> Array:
    """Dark (rarely light) bent lines across the picture."""
    size = scene.shape[-1]
    lines = np.zeros((size, size), np.uint8)
    t = np.linspace(0, 1, 16)[:, None]
    for _ in range(rng.integers(1, 12)):
        start, middle, end = rng.uniform(-0.3, 1.3, (3, 2)) * size
        middle = (start + end + 0.3 * middle) / 2.3
        points = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
        cv2.polylines(lines, [np.round(points * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    ink = channels(45, 32, 28) if rng.random() < 0.85 else channels(230, 215, 190)
    cover = rng.uniform(0.4, 0.9) * as_float(lines) / 255
    return as_float(scene + cover * (ink - scene))


def add_bubbles(rng: Rng, scene: Array) -> Array:
    """Bright rings: air bubbles in the gel."""
    size = scene.shape[-1]
    rings = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 10)):
        x, y = rng.uniform(0, size, 2)
        radius = log_uniform(rng, 1, 8) * size / 128
        cv2.circle(rings, (round(x * 16), round(y * 16)), round(radius * 16), 255, 1, cv2.LINE_AA, 4)
    return as_float(scene + rng.uniform(20, 90) * blur(as_float(rings) / 255, 0.5))


def dark_corners(rng: Rng, size: int) -> Array:
    """Brightness 0..1 of the round field of view."""
    rows, columns = coordinates(size)
    radius = rng.uniform(0.55, 0.72) * size
    away = as_float(np.hypot(rows - size / 2, columns - size / 2))
    return as_float(1 - rng.uniform(0.6, 1) * smoothstep(away, radius, radius * 1.15))


def draw_shapes(rng: Rng, size: int, empty: bool) -> tuple[Pixels, Pixels]:
    """Picture (size, size, 3) and mask (size, size): 0 background, 1 disc, 2 square, 3 triangle, 4 border.

    One to four shapes, each with a border in a colour of its own, about a twentieth of the picture's side wide;
    later ones cover earlier ones.
    """
    scene = rough_surface(rng, size)
    mask = np.zeros((size, size), np.uint8)
    for _ in range(0 if empty else rng.integers(1, 5)):
        inside, shape = shape_depth(rng, size)
        border = size / 40
        for start, value in ((-border, 4), (border, shape)):
            paint = channels(*rng.uniform(20, 235, 3)) * (1 + 0.1 * noise(rng, size, size / 16))
            scene = as_float(scene + smoothstep(inside, start - 0.7, start + 0.7) * (paint - scene))
            mask[inside > start] = value
    if rng.random() < 0.3:
        scene = scene * (1 - 0.3 * smoothstep(half_plane(rng, size), 0, size / 8))
    return photograph(rng, as_float(scene), rng.uniform(0, 0.8)), mask


def shape_depth(rng: Rng, size: int) -> tuple[Array, int]:
    """Distance to the border of a disc (1), square (2) or triangle (3), positive inside; and which it is."""
    rows, columns = coordinates(size)
    (x, y), radius = (rng.uniform(0.15, 0.85, 2) * size).tolist(), rng.uniform(0.1, 0.25) * size
    if (shape := int(rng.integers(1, 4))) == 1:
        return as_float(radius - np.hypot(columns - x, rows - y)), shape
    sides = 4 if shape == 2 else 3
    first = rng.uniform(0, 2 * np.pi)
    turns = [first + 2 * np.pi * side / sides for side in range(sides)]
    away = [(columns - x) * math.cos(turn) + (rows - y) * math.sin(turn) for turn in turns]
    return as_float(radius * (0.85 if shape == 2 else 0.65) - np.max(away, axis=0)), shape
