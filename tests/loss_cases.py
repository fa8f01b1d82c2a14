"""Every loss with its settings, and pictures for them."""

import torch
from torch import Tensor

from segkit import config_dir
from segkit.choices.completion import load_merged
from segkit.choices.listing import find_choices
from segkit.losses import BCE, L1, MCC, MSE, BCEDice, ClDice, Combo, CrossEntropy, Dice, Focal, Lovasz, Tversky
from segkit.runs import making
from segkit.tasks.segmentation import loss_inputs

ONE_CLASS = [BCE(), BCE(3.0), Dice(), Dice("batch"), Focal(), Focal(0.5), Focal(alpha=0.25), BCEDice()]
ONE_CLASS += [Focal(background_modulated=False), BCEDice(pool="batch")]
SEVERAL = [CrossEntropy(), CrossEntropy([1.0, 2.0, 0.5]), Dice(), Dice("batch"), Focal(), Focal(0.5)]
SEVERAL += [Focal(alpha=[0.2, 0.3, 0.5])]
OVERLAP = [
    Tversky(),
    Tversky(1.0, 1.0),
    Tversky(gamma=0.75, pool="batch"),
    Lovasz(),
    Lovasz("batch"),
    MCC(),
    MCC("batch"),
    ClDice(),
    ClDice(3, "batch"),
]
PIXELS = [L1(), MSE(), MSE("sum"), Focal(reduction="sum")]
ONE_CLASS += [BCE(reduction="sum"), BCEDice(smooth=0.1), *PIXELS]
SEVERAL += [CrossEntropy([1.0, 2.0, 0.5], reduction="sum"), *PIXELS]
ONE_CLASS += [BCE(smoothing=0.1), Combo({"bce": BCE(), "cldice": ClDice()}, {"bce": 1, "cldice": 0.5}), *OVERLAP]
SEVERAL += [
    CrossEntropy(smoothing=0.1),
    Combo({"ce": CrossEntropy(), "lovasz": Lovasz()}, {"ce": 1, "lovasz": 2}),
    *OVERLAP,
]
for file in sorted(find_choices([config_dir()], "loss").keys() - {"combo"}):  # also one that is listed nowhere here
    of_file = making.make(load_merged([config_dir()], "loss", file))
    if loss_inputs(of_file) == ("logits", "mask"):
        ONE_CLASS += [of_file] if getattr(of_file, "classes", "one") == "one" else []
        SEVERAL += [of_file] if getattr(of_file, "classes", "several") == "several" else []
CASES = [(loss, 1) for loss in ONE_CLASS] + [(loss, 3) for loss in SEVERAL]


def random_batch(channels: int, ignore: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(channels)
    logits = 3 * torch.randn(4, channels, 5, 7, generator=generator)
    mask = torch.randint(0, max(2, channels), (4, 5, 7), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) < ignore] = 255
    return logits, mask
