"""Losses that compare how masks overlap."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit import IGNORE_INDEX
from segkit.losses.shared import Pool, average, check_pool, check_smooth, one_hot, pooled_dims, prepare, probabilities


def soft_dice(prob: Tensor, target: Tensor, pool: Pool = "image", smooth: float = 1.0) -> Tensor:
    """Soft Dice coefficient (2Σpt + s) / (Σp + Σt + s) of each class, in [0, 1].

    prob, target: (N, C, H, W), probabilities and {0, 1}. The sums run over a picture (`pool="image"`, result
    (N, C)) or over the whole batch ("batch", result (C,)). `smooth` is added to both sides of the fraction:
    an empty target scores s / (Σp + s), 1 for an empty prediction and less for every invented pixel.
    Source: Milletari et al., V-Net, 2016, eq. 3, with linear sums.
    """
    dims = pooled_dims(pool)
    overlap = (prob * target).sum(dims)
    total = prob.sum(dims) + target.sum(dims)
    return (2 * overlap + smooth) / (total + smooth)


def dice_loss(logits: Tensor, mask: Tensor, pool: Pool = "image", smooth: float = 1.0) -> Tensor:
    """1 − soft Dice, in [0, 1]: averaged over the classes, and for `pool="image"` over the pictures.

    Every class counts, whether it occurs or not: one that is absent from a picture (from the batch, for "batch") costs
    1 − s / (Σp + s), so inventing it is penalised and leaving it out is free. Pictures without a labelled pixel are
    left out of the average.
    """
    x, labelled = prepare(logits, mask)
    prob = probabilities(x)
    return average(1 - soft_dice(prob * labelled, one_hot(mask, x.shape[1]), pool, smooth), labelled)


def tversky_loss(
    logits: Tensor,
    mask: Tensor,
    fp: float = 0.5,
    fn: float = 0.5,
    gamma: float = 1.0,
    pool: Pool = "image",
    smooth: float = 1.0,
) -> Tensor:
    """(1 − T)^γ, T = (TP + s) / (TP + fp·FP + fn·FN + s) on probabilities, in [0, 1]; averaged as in `dice_loss`.

    fp, fn: the cost of an invented and of a missed pixel: 1 and 1 is Jaccard, ½ and ½ is Dice. Sources: Salehi et
    al., Tversky loss function, 2017, eq. 4 (α, β); Abraham and Khan, focal Tversky, 2019, eq. 4 (whose exponent is
    1/γ).
    """
    x, labelled = prepare(logits, mask)
    prob, target, dims = probabilities(x) * labelled, one_hot(mask, x.shape[1]), pooled_dims(pool)
    hit = (prob * target).sum(dims)
    cost = hit + fp * (prob.sum(dims) - hit) + fn * (target.sum(dims) - hit)
    # the clamp keeps the gradient finite where T = 1 and gamma < 1
    missed = (1 - (hit + smooth) / (cost + smooth)).clamp(min=torch.finfo(torch.float32).eps)
    return average(missed**gamma, labelled)


def lovasz_loss(logits: Tensor, mask: Tensor, pool: Pool = "image") -> Tensor:
    """The convex extension of the Jaccard loss, by segmentation-models-pytorch: on the hinge of the logits for one
    class (in [0, ∞)), on the softmax for several (in [0, 1]), where only classes in the truth count. For a mask without
    the class, the hinge only sees the most certain invented pixel.

    Source: Berman et al., The Lovász-Softmax loss, 2018, sections 3.1 and 3.2.
    """
    from segmentation_models_pytorch.losses import LovaszLoss  # a second

    x, labelled = prepare(logits, mask)
    counted = labelled.flatten(1).any(dim=1) if pool == "image" else labelled.any().expand(len(x))
    if not counted.any():
        return x.sum() * 0
    mode = "binary" if x.shape[1] == 1 else "multiclass"
    smp = LovaszLoss(mode, per_image=pool == "image", ignore_index=IGNORE_INDEX)
    loss: Tensor = smp(x[counted], mask[counted])
    return loss


def mcc_loss(logits: Tensor, mask: Tensor, pool: Pool = "image", smooth: float = 1.0) -> Tensor:
    """1 − Matthews' correlation coefficient of probabilities and truth, in [0, 2]; averaged as in `dice_loss`.

    `smooth` extra pixels of either kind count as right: without them, a mask of one kind gives 0/0; with them, every
    invented pixel costs. Source: Abhishek and Hamarneh, Matthews Correlation Coefficient Loss, 2021,
    eq. 3.
    """
    x, labelled = prepare(logits, mask)
    prob, target, dims = probabilities(x) * labelled, one_hot(mask, x.shape[1]), pooled_dims(pool)
    pixels = labelled.sum(dims)
    total = pixels + 2 * smooth
    hit, predicted, true = ((values.sum(dims) + smooth) / total for values in (prob * target, prob, target))
    not_predicted, not_true = ((pixels - values.sum(dims) + smooth) / total for values in (prob, target))
    mcc = (hit - predicted * true) / (predicted * not_predicted * true * not_true).sqrt()
    return average(1 - mcc, labelled)


def cldice_loss(logits: Tensor, mask: Tensor, iterations: int = 5, pool: Pool = "image", smooth: float = 1.0) -> Tensor:
    """1 − clDice, in [0, 1]: how much of each skeleton lies in the other mask, for thin structures; averaged as in
    `dice_loss`. If the class is not there, every invented pixel costs, as in Dice, not only those of the skeleton.

    iterations: half the width in pixels of the thickest structure. Source: Shit et al., clDice, 2021, eqs. 1 to 3 and
    algorithm 1.
    """
    x, labelled = prepare(logits, mask)
    prob, target, dims = probabilities(x) * labelled, one_hot(mask, x.shape[1]), pooled_dims(pool)
    own, true = soft_skeleton(prob, iterations), soft_skeleton(target, iterations)
    predicted = torch.where(target.sum(dims) > 0, own.sum(dims), prob.sum(dims))
    precision = ((own * target).sum(dims) + smooth) / (predicted + smooth)
    sensitivity = ((true * prob).sum(dims) + smooth) / (true.sum(dims) + smooth)
    cldice = 2 * precision * sensitivity / (precision + sensitivity)
    return average(1 - cldice, labelled)


def soft_skeleton(prob: Tensor, iterations: int) -> Tensor:
    """prob (N, C, H, W) in [0, 1] to the same shape, high on the middle lines of high regions: what opening removes
    from the picture and from each of its erosions."""
    skeleton = F.relu(prob - _dilate(_erode(prob)))
    for _ in range(iterations):
        prob = _erode(prob)
        rest = F.relu(prob - _dilate(_erode(prob)))
        skeleton = skeleton + F.relu(rest - skeleton * rest)
    return skeleton


def _erode(prob: Tensor) -> Tensor:
    return -torch.maximum(F.max_pool2d(-prob, (3, 1), 1, (1, 0)), F.max_pool2d(-prob, (1, 3), 1, (0, 1)))


def _dilate(prob: Tensor) -> Tensor:
    return F.max_pool2d(prob, 3, 1, 1)


class Overlap(nn.Module):
    """Base of overlap losses: what the sums run over, and what is added to both sides of a fraction."""

    def __init__(self, pool: Pool, smooth: float) -> None:
        super().__init__()
        check_pool(pool)
        check_smooth(smooth)
        self.pool: Pool = pool
        self.smooth = smooth
        self.pooled = pool == "batch"


class Dice(Overlap):
    """`dice_loss`, for one class or several."""

    def __init__(self, pool: Pool = "image", smooth: float = 1.0) -> None:
        super().__init__(pool, smooth)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return dice_loss(logits, mask, self.pool, self.smooth)


class Tversky(Overlap):
    """`tversky_loss`: Jaccard, Tversky and focal Tversky are its settings."""

    def __init__(
        self, fp: float = 0.3, fn: float = 0.7, gamma: float = 1.0, pool: Pool = "image", smooth: float = 1.0
    ) -> None:
        super().__init__(pool, smooth)
        for name, value in {"fp": fp, "fn": fn, "gamma": gamma}.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}, expected a number above 0")
        self.fp, self.fn, self.gamma = fp, fn, gamma

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return tversky_loss(logits, mask, self.fp, self.fn, self.gamma, self.pool, self.smooth)


class Lovasz(nn.Module):
    """`lovasz_loss`."""

    def __init__(self, pool: Pool = "image") -> None:
        super().__init__()
        check_pool(pool)
        self.pool: Pool = pool
        self.pooled = pool == "batch"

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return lovasz_loss(logits, mask, self.pool)


class MCC(Overlap):
    """`mcc_loss`."""

    def __init__(self, pool: Pool = "image", smooth: float = 1.0) -> None:
        super().__init__(pool, smooth)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return mcc_loss(logits, mask, self.pool, self.smooth)


class ClDice(Overlap):
    """`cldice_loss`; best with a loss on areas: loss=combo 'loss.weights={dice: 1, cldice: 0.5}'."""

    def __init__(self, iterations: int = 5, pool: Pool = "image", smooth: float = 1.0) -> None:
        super().__init__(pool, smooth)
        if iterations < 1:
            raise ValueError(f"iterations is {iterations}, expected 1 or more")
        self.iterations = iterations

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return cldice_loss(logits, mask, self.iterations, self.pool, self.smooth)
