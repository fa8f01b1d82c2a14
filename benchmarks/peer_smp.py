"""What a plan is measured against: the U-Net of segmentation-models-pytorch (ResNet-18, from scratch), in the loop
of its examples.

taskset -c 0 python benchmarks/peer_smp.py ../shared/data chasedb1 --minutes 4 --seed 0

Pictures are resized to 256² and mirrored both ways; Dice, Adam with a rate of 0.001 and a cosine down to zero when the
time ends; the best epoch of validation is tested as in plans.py: whole pictures, at the masks' own size, pooled.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from plans import IGNORED, SETS, count_pixels, load_sources, mean_iou
from torch import Tensor

from segkit.datasets.source import Source

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
SIDE, BATCH, RATE = 256, 8, 1e-3


def load(source: Source) -> list[tuple[Tensor, Tensor]]:
    """Pictures (3, 256, 256), normalised, and masks at their own size."""
    samples = [source[index] for index in range(len(source))]
    return [(resize(sample["image"].float()[None])[0], sample["mask"].long()) for sample in samples]


def resize(image: Tensor) -> Tensor:
    scaled: Tensor = F.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return (scaled / 255 - MEAN) / STD


def batches(pairs: list[tuple[Tensor, Tensor]], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch in random order; the last incomplete batch is dropped."""
    order = rng.permutation(len(pairs))
    for start in range(0, max(len(pairs) // BATCH, 1) * BATCH, BATCH):
        images, masks = [], []
        for index in order[start : start + BATCH]:
            image, mask = pairs[index]
            mask = F.interpolate(mask[None, None].float(), (SIDE, SIDE), mode="nearest-exact")[0, 0].long()
            flips = [axis for axis in (-1, -2) if rng.random() < 0.5]
            images.append(image.flip(flips))
            masks.append(mask.flip(flips))
        yield torch.stack(images), torch.stack(masks)


def score(net: torch.nn.Module, pairs: list[tuple[Tensor, Tensor]], classes: int) -> float:
    """Pooled IoU of whole pictures at their masks' own size."""

    def found() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        for image, mask in pairs:
            logits = F.interpolate(net(image[None]), mask.shape, mode="bilinear", align_corners=False)[0]
            label = (logits[0] > 0) if classes == 1 else logits.argmax(0)
            yield label.to(torch.uint8).numpy(), mask.to(torch.uint8).numpy()

    net.eval()
    with torch.inference_mode():
        return mean_iou(*count_pixels(found(), classes), classes)


def train(splits: dict[str, list[tuple[Tensor, Tensor]]], classes: int, seconds: float, seed: int) -> float:
    """The test score of the best epoch of a training of so many seconds."""
    torch.manual_seed(seed)
    rng, net = np.random.default_rng(seed), smp.Unet("resnet18", encoder_weights=None, classes=classes)
    mode = "binary" if classes == 1 else "multiclass"
    loss: Callable[[Tensor, Tensor], Tensor] = smp.losses.DiceLoss(mode, from_logits=True, ignore_index=IGNORED)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    started, best, state = time.perf_counter(), -1.0, net.state_dict()
    while (used := (time.perf_counter() - started) / seconds) < 1:
        net.train()
        for image, mask in batches(splits["train"], rng):
            used = min((time.perf_counter() - started) / seconds, 1.0)
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * used)) / 2
            value = loss(net(image), mask[:, None] if classes == 1 else mask)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if used == 1:
                break
        if (found := score(net, splits["val"], classes)) > best:
            best, state = found, {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.load_state_dict(state)
    return score(net, splits["test"], classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("name", choices=list(SETS))
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = load_sources(given.data, given.name)
    classes = len(sources["train"].classes)
    splits = {split: load(source) for split, source in sources.items()}
    print(f"{given.name:10} smp       {train(splits, classes, 60 * given.minutes, given.seed):.3f}", flush=True)


if __name__ == "__main__":
    main()
