"""The LightningModules: what is computed on a batch, what is logged, what a checkpoint carries."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from segkit.metrics import SegmentationMetrics

Batch = dict[str, Any]


class SegmentationTask(LightningModule):
    """Semantic segmentation: one foreground class (one logit channel), or C classes.

    net: (N, 3, H, W) float32 to logits (N, C, H, W). mean, std: normalisation of pictures scaled to 0..1, a channel.
    optimizer: called with the parameters. scheduler: called with the optimizer, and with `total_steps` if it has a
    parameter of that name; stepped every `interval` ("epoch" or "step"); `monitor` is what a plateau watches.
    threshold: probability above which a pixel is foreground (one class). beta: of F_β.
    facts: plain containers that go into every checkpoint, so that it alone is enough to predict.
    """

    mean: Tensor
    std: Tensor
    bad_step: Tensor

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        *,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        threshold: float = 0.5,
        beta: float = 2.0,
        loss: nn.Module | None = None,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        interval: str = "epoch",
        monitor: str | None = None,
        seed: int = 0,
        example_size: tuple[int, int] = (64, 64),
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold}: expected a probability between 0 and 1.")
        self.net = net.to(memory_format=torch.channels_last)  # faster with every network and device measured
        self.classes, self.threshold = tuple(classes), threshold
        self.loss, self.optimizer, self.scheduler = loss, optimizer, scheduler
        self.interval, self.monitor, self.seed, self.facts = interval, monitor, seed, facts or {}
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("bad_step", torch.tensor(-1), persistent=False)
        self.example_input_array = torch.zeros(1, 3, *example_size, dtype=torch.uint8)
        self.train_metrics = SegmentationMetrics(classes, threshold=threshold, beta=beta)
        self.val_metrics = SegmentationMetrics(classes, threshold=threshold, beta=beta)
        self.test_metrics = SegmentationMetrics(classes, threshold=threshold, beta=beta)
        # of validation and test; made at the first batch, which shows the parts
        self.mean_losses: dict[str, MeanMetric] = {}

    def forward(self, image: Tensor) -> Tensor:
        """image (N, 3, H, W) uint8, as read, to logits (N, C, H, W); normalised here, on the device."""
        pixels = (image.float() / 255 - self.mean) / self.std
        logits: Tensor = self.net(pixels.contiguous(memory_format=torch.channels_last))
        return logits

    def probabilities(self, image: Tensor) -> Tensor:
        """image (N, 3, H, W) uint8 to probabilities (N, C, H, W) float32: sigmoid for one class, else softmax."""
        logits: Tensor = self(image).float()
        return logits.sigmoid() if len(self.classes) == 1 else logits.softmax(1)

    def label(self, probabilities: Tensor) -> Tensor:
        """Probabilities (N, C, H, W) to class numbers (N, H, W) uint8: above the threshold, or the most probable."""
        if len(self.classes) == 1:
            return (probabilities[:, 0] > self.threshold).to(torch.uint8)
        return probabilities.argmax(1).to(torch.uint8)

    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The loss, and its parts where it is a sum, in float32 whatever the precision."""
        loss: Any = self.loss
        if loss is None:
            return {}
        with torch.autocast(logits.device.type, enabled=False):
            parts = loss.parts(logits.float(), mask) if hasattr(loss, "parts") else {}
            total = loss.combine(parts) if hasattr(loss, "combine") else loss(logits.float(), mask)
            return {"loss": total} | {f"loss/{name}": part for name, part in parts.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits, mask = self(batch["image"]), batch["mask"].long()
        losses = self.losses(logits, mask)
        self._watch(losses["loss"].detach())
        self.train_metrics.update(logits.detach(), mask, batch["index"])
        size = len(mask)
        self.log("loss", losses["loss"], prog_bar=True, logger=False, batch_size=size)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, on_step=False,
                      on_epoch=True, batch_size=size, sync_dist=True)  # fmt: skip
        return losses["loss"]

    def _watch(self, loss: Tensor) -> None:
        """Remember the first step whose loss is not finite, on the device; look at it where that costs nothing."""
        first = ~torch.isfinite(loss) & (self.bad_step < 0)
        self.bad_step = torch.where(first, torch.full_like(self.bad_step, self.global_step), self.bad_step)
        if loss.device.type == "cpu" or self.global_step % 50 == 0:
            self._stop_if_not_finite()

    def _stop_if_not_finite(self) -> None:
        if (step := int(self.bad_step)) >= 0:
            raise ValueError(
                f"The training loss became NaN or infinite at step {step} (epoch {self.current_epoch}). Try a smaller "
                "optimizer.lr, trainer.gradient_clip_val=1, precision=32-true, or trainer=debug to find the operation."
            )

    def on_train_epoch_start(self) -> None:
        # dropout and the like then depend on (seed, epoch) alone: a resumed run draws what an uninterrupted one draws
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch * 1_009 + self.global_rank)

    def on_train_epoch_end(self) -> None:
        self._stop_if_not_finite()
        self._log_metrics("train", self.train_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch, self.val_metrics)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", batch, self.test_metrics)

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test", self.test_metrics, reset=False)  # its rows per picture are read after the test

    def _evaluate(self, split: str, batch: Batch, metrics: SegmentationMetrics) -> None:
        logits, mask, index = self(batch["image"]), batch["mask"].long(), batch["index"]
        metrics.update(logits, mask, index)
        for one, counted in enumerate(index >= 0):  # picture by picture, so that the mean holds for any batch size
            for name, value in self.losses(logits[one : one + 1], mask[one : one + 1]).items():
                if name not in self.mean_losses:
                    self.mean_losses[name] = MeanMetric().to(self.device)
                self.mean_losses[name].update(value, counted)

    def _log_metrics(self, split: str, metrics: SegmentationMetrics, reset: bool = True) -> None:
        scores = {f"{split}/{name}": value for name, value in metrics.compute().items()}
        if split != "train":
            scores = {f"{split}/{name}": float(mean.compute()) for name, mean in self.mean_losses.items()} | scores
            for mean in self.mean_losses.values():
                mean.reset()
        shown = f"{split}/iou"
        if shown in scores:
            self.log(shown, scores.pop(shown), prog_bar=split == "val")
        self.log_dict(scores)
        if reset:
            metrics.reset()

    def configure_optimizers(self) -> Any:
        if self.optimizer is None:
            raise ValueError("This task was built to predict: give it an optimizer to train it.")
        optimizer = self.optimizer([p for p in self.net.parameters() if p.requires_grad])
        if isinstance(optimizer, torch.optim.LBFGS):  # flattens gradients by view()
            self.net.to(memory_format=torch.contiguous_format)
        if self.scheduler is None:
            return optimizer
        accepted = inspect.signature(self.scheduler).parameters
        total = {"total_steps": int(self.trainer.estimated_stepping_batches)} if "total_steps" in accepted else {}
        config = {"scheduler": self.scheduler(optimizer, **total), "interval": self.interval}
        return {
            "optimizer": optimizer,
            "lr_scheduler": config | ({"monitor": self.monitor} if self.monitor else {}),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["segkit"] = self.facts
