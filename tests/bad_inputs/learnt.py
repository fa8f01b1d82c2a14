"""Data that nothing can be learnt from, and weights that are no network any more."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from conftest import write_pair

from bad_inputs.cases import Case
from bad_inputs.makers import TINY, both, data, run

PREDICT = ("run=run", "input=data/images", "output=out", "accelerator=cpu")
EVALUATE = ("run=run", "accelerator=cpu", "hydra.run.dir=scored")
NOT_FINITE = ("run/checkpoints/best.ckpt", "NaN or infinite values", "smaller optimizer.lr")


def masks_of(value: int, below: str = "data/masks") -> Callable[[Path], None]:
    """Every mask of one value."""

    def make(folder: Path) -> None:
        for path in (folder / below).iterdir():
            cv2.imwrite(str(path), np.full((32, 32), value, np.uint8))

    return make


def splits(folder: Path) -> None:
    """`data/train`, `val` and `test`, with four, two and two pictures."""
    for start, (split, count) in enumerate((("train", 4), ("val", 2), ("test", 2))):
        for number in range(count):
            place = folder / "data" / split
            write_pair(place / "images", place / "masks", f"{split}{number}", 10 * start + number, size=(32, 32))


def tensors(change: Callable[[dict[str, torch.Tensor]], None], name: str = "best") -> Callable[[Path], None]:
    """A checkpoint of the run whose tensors are changed."""

    def make(folder: Path) -> None:
        path = folder / "run" / "checkpoints" / f"{name}.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        change(checkpoint["state_dict"])
        torch.save(checkpoint, path)

    return make


def filled(ending: str, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    """Every tensor whose name ends so is of one value."""

    def change(state: dict[str, torch.Tensor]) -> None:
        for name in state:
            if name.endswith(ending):
                state[name].fill_(value)

    return change


def bad_normalisation(folder: Path) -> None:
    path = folder / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["segkit"]["normalisation"]["mean"] = [float("nan")] * 3
    torch.save(checkpoint, path)


NAN = both(run, tensors(filled("head.weight", float("nan"))))
LARGE = both(run, tensors(filled("weight", 1e30)))  # finite, but products of them are not
EMPTY, FULL = both(data, masks_of(0)), both(data, masks_of(255))
PRESENCE = ("dataset.crops=grid", "dataset.presence_threshold=0.001", "dataset.size=16")

CASES = (
    Case("masks_all_empty", "train", TINY, ("training masks are all empty", ".png", "dataset.threshold"), EMPTY),
    Case("masks_all_full", "train", TINY, ("training masks are all full", ".png", "dataset.classes"), FULL),
    Case("masks_all_empty_in_crops", "train", (*TINY, *PRESENCE), ("training masks are all empty",), EMPTY),
    Case("masks_all_empty_in_training", "train", TINY, ("the 4 training masks are all empty", "data/train/masks"),
         both(splits, masks_of(0, "data/train/masks"))),
    Case("masks_all_full_in_training", "train", TINY, ("the 4 training masks are all full", "data/train/masks"),
         both(splits, masks_of(255, "data/train/masks"))),
    Case("masks_all_empty_in_validation", "train", TINY, ("the val masks are all empty", "say nothing"),
         both(splits, masks_of(0, "data/val/masks")), ends=0),
    Case("masks_all_full_in_validation", "train", TINY, ("the val masks are all full", "say nothing"),
         both(splits, masks_of(255, "data/val/masks")), ends=0),
    Case("masks_all_empty_in_test", "train", TINY, ("the test masks are all empty", "say nothing"),
         both(splits, masks_of(0, "data/test/masks")), ends=0),
    Case("nothing_found", "evaluate", EVALUATE, ("find nothing that the test masks show", "try more epochs"),
         both(run, tensors(filled("head.bias", -1e4))), ends=0),
    Case("everything_painted", "evaluate", EVALUATE, ("paint nearly every test pixel as", "precision is no more than"),
         both(run, tensors(filled("head.bias", 1e4))), ends=0),
    Case("hardly_trained", "train", TINY, ("trained for 1 epoch", "more epochs (trainer.max_epochs)",
                                           "validation pictures are few"), data, ends=0),
    Case("nan_weights_predict", "predict", PREDICT, NOT_FINITE, NAN),
    Case("nan_weights_evaluate", "evaluate", EVALUATE, NOT_FINITE, NAN),
    Case("infinite_weights_predict", "predict", PREDICT, NOT_FINITE,
         both(run, tensors(filled("head.bias", float("inf"))))),
    Case("nan_statistics_predict", "predict", PREDICT, NOT_FINITE,
         both(run, tensors(filled("running_mean", float("nan"))))),
    Case("nan_weights_init_from", "train", (*TINY, "init_from=run", "hydra.run.dir=next"), NOT_FINITE, NAN),
    Case("nan_weights_resume", "train", ("resume=run", "trainer.max_epochs=2"), ("NaN or infinite at step",),
         both(run, tensors(filled("head.weight", float("nan")), "last"))),
    Case("overflowing_weights_predict", "predict", PREDICT, ("NaN or infinite outputs", "data/images/p00.png"), LARGE),
    Case("overflowing_weights_evaluate", "evaluate", EVALUATE, ("NaN or infinite outputs", "smaller optimizer.lr"),
         LARGE),
    Case("nan_normalisation_predict", "predict", PREDICT, ("best.ckpt: normalisation.mean[0] is nan",),
         both(run, bad_normalisation)),
    Case("rate_that_diverges", "train", (*TINY, "loss=bce", "optimizer=sgd", "optimizer.lr=1e30"),
         ("NaN or infinite at step", "Try a smaller optimizer.lr"), data),
)
