"""Learning-rate schedules that torch has no class for."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_with_warmup(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Linear up to the optimiser's lr, then half a cosine down to 0 at `total_steps`; step it once a step.

    With w = round(warmup · total_steps), the factor of step t (from 0) is (t + 1) / w for t < w, then
    ½(1 + cos(π (t − w) / (total_steps − w))). Step 0 trains already; steps past the end have lr 0.
    `warmup` is a share, 0 ≤ warmup < 1. Source: Loshchilov and Hutter, SGDR, 2017, eq. 5, without restarts.
    """
    if total_steps < 1 or not 0 <= warmup < 1:
        raise ValueError(
            f"cosine_with_warmup: got total_steps {total_steps} and warmup {warmup}, "
            "expected at least one step and a share of them, 0 <= warmup < 1."
        )
    rising = min(round(warmup * total_steps), total_steps - 1)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        falling = min(1.0, (step - rising) / (total_steps - rising))
        return (1 + math.cos(math.pi * falling)) / 2

    return LambdaLR(optimizer, factor)
