"""Averages of the weights."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class StochasticAveraging(WeightAveraging):
    """The mean of the weights over the steps after `start` (a share of the run); before that, the current weights.

    Validation, best.ckpt and the test see the mean. (Lightning's StochasticWeightAveraging only computes it after the
    last checkpoint is written.) Source: Izmailov et al., Averaging Weights Leads to Wider Optima, 2018, a mean over
    steps.
    """

    def __init__(self, start: float = 0.75) -> None:
        if not 0 <= start < 1:
            raise ValueError(f"callbacks.swa.start={start}: expected a share of the run, from 0 to below 1.")
        super().__init__(avg_fn=self._mean)
        self.start, self.first_step = start, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.first_step = int(self.start * trainer.estimated_stepping_batches)

    def _mean(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        seen = self._latest_update_step - self.first_step  # a number on the host: reading `count` would make a GPU wait
        return current if seen <= 0 else average + (current - average) / (seen + 1)
