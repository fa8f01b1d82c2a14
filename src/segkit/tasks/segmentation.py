"""The LightningModule: what is computed on a batch, what is logged, what a checkpoint contains."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from segkit.metrics.masks import MeanLoss
from segkit.models.encoders import encoder_of
from segkit.models.presence import Detection, find_gated, gate_open, probability
from segkit.models.weights import expect_shares
from segkit.tasks.contract import Batch, Task
from segkit.tasks.optimizing import describe_missing_part, freeze_modules, scale_rates
from segkit.tasks.scores import Scores
from segkit.tasks.segmenter import NOT_FINITE, Light, Segmenter, is_finite

MISSING = {  # what a loss needs but the network or the data lack
    "logits": "this loss compares masks, but the network says only whether the class is there; use loss=presence",
    "presence": "this loss is of presence, which the network does not give; say "
    "model=unet_classifier or vgg_classifier",
    "label": "this loss wants to know of every sample whether the class is there; set dataset.presence_threshold, the "
    "share of a sample's area from which on it is (0.001)",
}
CURE = (
    "Try a smaller optimizer.lr, trainer.gradient_clip_val=1, precision=32-true, or trainer=debug to find the "
    "operation."
)


class SegmentationTask(Segmenter, Task):
    """A `Segmenter` that is trained and scored.

    freeze: modules of the network, by name, whose weights and batch-norm statistics stay fixed, the weights until
    `unfreeze_at_epoch` (the first is 0). encoder_lr_factor: multiplies the learning rate of the module `encoder`.
    prior: see `expect_shares`. optimizer: called with the parameters. scheduler: called with the optimizer, and with
    `total_steps` if it has a parameter of that name; stepped every `interval` ("epoch" or "step"); `monitor` is what a
    plateau watches. beta: of F_β. cliou: the tolerance in pixels of the IoU of centre lines; None leaves it out.
    """

    bad_step: Tensor

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        standardise: bool = False,
        prior: Sequence[float] | None = None,
        threshold: float = 0.5,
        beta: float = 2.0,
        cliou: float | None = None,
        freeze: Sequence[str] = (),
        unfreeze_at_epoch: int | None = None,
        encoder_lr_factor: float = 1.0,
        loss: nn.Module | None = None,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        interval: str = "epoch",
        monitor: str | None = None,
        seed: int = 0,
        example_size: tuple[int, int] = (64, 64),
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(net, classes, mean=mean, std=std, standardise=standardise, threshold=threshold, facts=facts)
        if cliou is not None and len(self.classes) > 1:
            raise ValueError(f"model.cliou={cliou} is of one class; these are {len(self.classes)}: leave it out.")
        if prior:
            expect_shares(net, prior)
        self.loss, self.optimizer, self.scheduler = loss, optimizer, scheduler
        self.interval, self.monitor, self.seed = interval, monitor, seed
        self.register_buffer("bad_step", torch.tensor(-1), persistent=False)
        self.finite: list[Tensor] = []  # for each batch of this pass over a split, whether its outputs were finite
        self.example_input_array = torch.zeros(1, 3, *example_size, dtype=torch.uint8)
        for split in ("train", "val", "test"):
            tolerance = None if split == "train" else cliou  # thinning takes its time
            self.add_module(f"{split}_scores", Scores(classes, threshold, beta, tolerance))
        self.frozen = freeze_modules(net, freeze)
        self.unfreeze_at_epoch, self.encoder_lr_factor = unfreeze_at_epoch, encoder_lr_factor
        # for validation and test; created at the first batch, which shows the parts
        self.mean_losses: dict[str, MeanLoss] = {}

    def scores(self, split: str) -> Scores:
        """The metrics of train, val or test."""
        return cast(Scores, self.get_submodule(f"{split}_scores"))

    def decide_by(self, threshold: float, smallest: float) -> None:
        super().decide_by(threshold, smallest)
        for split in ("train", "val", "test"):
            self.scores(split).decide_by(threshold, smallest)

    def detect(self, image: Tensor, light: Light | None = None) -> Detection:
        """image (N, 3, H, W) uint8 to the network's output; in training, only what the loss needs."""
        net = find_gated(self.net)
        if self.training and net is not None and loss_inputs(self.loss) == ("presence", "label"):
            return net(self.normalise(image), masks=False)
        return super().detect(image, light)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def losses(self, out: Detection, mask: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """The loss, and its parts if it is a sum, in float32 whatever the precision."""
        loss: Any = self.loss
        if loss is None:
            return {}
        values = {"logits": out.masks, "presence": out.presence, "mask": mask, "label": label}
        given = [as_float32(values[name]) for name in loss_inputs(loss)]
        for name, value in zip(loss_inputs(loss), given, strict=True):
            if value is None:
                raise ValueError(MISSING[name])
        with torch.autocast(mask.device.type, enabled=False):
            parts = loss.parts(*given) if hasattr(loss, "parts") else {}
            total = loss.combine(parts) if hasattr(loss, "combine") else loss(*given)
            return {"loss": total} | {f"loss/{name}": part for name, part in parts.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        out, mask = self.detect(batch["image"]), batch["mask"].long()
        losses = self.losses(out, mask, batch.get("label"))
        self._note_bad_step(losses["loss"].detach())
        self.scores("train").update(out, batch)
        size = len(mask)
        self.log("loss", losses["loss"], prog_bar=True, batch_size=size)  # every trainer.log_every_n_steps
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in losses.items()},
            on_step=False,
            on_epoch=True,
            batch_size=size,
            sync_dist=True,
        )
        return losses["loss"]

    def _note_bad_step(self, loss: Tensor) -> None:
        """Remember the first step whose loss is not finite, on the device; check it when that costs nothing."""
        first = ~torch.isfinite(loss) & (self.bad_step < 0)
        self.bad_step = torch.where(first, torch.full_like(self.bad_step, self.global_step), self.bad_step)
        if loss.device.type == "cpu" or self.global_step % 50 == 0:
            self._stop_if_not_finite()

    def _stop_if_not_finite(self) -> None:
        if (step := int(self.bad_step)) >= 0:
            raise ValueError(
                f"The training loss became NaN or infinite at step {step} (epoch {self.current_epoch}). {CURE}"
            )

    def on_train_epoch_start(self) -> None:
        if self.unfreeze_at_epoch is not None and self.current_epoch >= self.unfreeze_at_epoch:
            for module in self.frozen:  # their batch norm stays fixed: the layers after it were trained that way
                module.requires_grad_(True)
        # so that dropout and the like depend on (seed, epoch) alone, in a resumed run as in an uninterrupted one
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch * 1_009 + self.global_rank)

    def _stop_if_network_not_finite(self) -> None:
        """Check all weights and running statistics once: a loss may stay finite when they do not."""
        values = [value for value in self.net.state_dict().values() if value.is_floating_point()]
        if values and not bool(torch.stack([torch.isfinite(value).all() for value in values]).all()):
            raise ValueError(
                "The network's weights or running statistics became NaN or infinite in epoch "
                f"{self.current_epoch}. {CURE}"
            )

    def on_train_epoch_end(self) -> None:
        self._stop_if_not_finite()
        self._stop_if_network_not_finite()
        self._log_metrics("train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", batch)

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """For `Trainer.predict`. batch: from a segkit loader, or pictures (N, 3, H, W) uint8. Returns `probabilities`
        (N, C, H, W) float32 and class numbers `mask` (N, H, W) uint8, the probability of `presence` (N,) if the network
        predicts it, and from a segkit loader `name` and `index`."""
        own = isinstance(batch, Mapping)
        out = self.detect(batch["image"] if own else batch)
        result: dict[str, Any] = {key: batch[key] for key in ("name", "index") if own}
        if out.presence is not None:
            result["presence"] = probability(out.presence)
        if out.masks is not None:
            probabilities = self.activated(out.masks)
            result |= {"probabilities": probabilities, "mask": self.label(probabilities)}
        return result

    def on_test_epoch_end(self) -> None:
        if not self._had_finite_outputs():
            raise ValueError(NOT_FINITE)
        self._log_metrics("test", reset=False)  # its rows are read after the test

    def _evaluate(self, split: str, batch: Batch) -> None:
        mask, label = batch["mask"].long(), batch.get("label")
        with gate_open(self.net) as self.scores(split).gate:  # decode once; the gated masks are emptied afterwards
            out = self.detect(batch["image"])
        self.finite.append(is_finite(out))
        masks = None if out.masks is None else self.calibrated(out.masks)
        self.scores(split).update(out._replace(masks=masks), batch)
        step = len(mask) if is_pooled(self.loss) else 1  # one by one, so that the mean holds for any batch size
        for start in range(0, len(mask), step):
            rows = slice(start, start + step)
            part = Detection(*(None if value is None else value[rows] for value in out))
            for name, value in self.losses(part, mask[rows], None if label is None else label[rows]).items():
                if name not in self.mean_losses:
                    self.mean_losses[name] = MeanLoss().to(self.device)
                self.mean_losses[name].update(value, (batch["index"][rows] >= 0).sum())

    def _had_finite_outputs(self) -> bool:
        """Whether all outputs of the pass over a split that ends here were finite, in all processes."""
        here = bool(torch.stack(self.finite).all()) if self.finite else True  # no batch came here
        self.finite.clear()
        return self.trainer.strategy.reduce_boolean_decision(here)

    def _log_metrics(self, split: str, reset: bool = True) -> None:
        metrics = self.scores(split)
        scores = {f"{split}/{name}": value for name, value in metrics.compute().items()}
        if split == "val" and not self._had_finite_outputs():  # an epoch that must not be the best
            scores = dict.fromkeys(scores, math.nan)
        if split != "train":
            scores = {f"{split}/{name}": float(mean.compute()) for name, mean in self.mean_losses.items()} | scores
            for mean in self.mean_losses.values():
                mean.reset()
        shown = f"{split}/iou_image" if f"{split}/iou_image" in scores else f"{split}/presence_f1"
        if shown in scores:
            self.log(shown, scores.pop(shown), prog_bar=split == "val")
        self.log_dict(scores)
        if reset:
            metrics.reset()

    def configure_optimizers(self) -> Any:
        if self.optimizer is None:
            raise ValueError("This task was built to predict: give it an optimizer to train it.")
        optimizer = self.optimizer(self.parameter_groups())
        scale_rates(optimizer, self.encoder_lr_factor)
        if isinstance(optimizer, torch.optim.LBFGS):  # flattens gradients by view()
            self.net.to(memory_format=torch.contiguous_format)
        if self.scheduler is None:
            return optimizer
        accepted = inspect.signature(self.scheduler).parameters
        total = {"total_steps": int(self.trainer.estimated_stepping_batches)} if "total_steps" in accepted else {}
        scheduler = self.scheduler(optimizer, **total)
        if isinstance(scheduler, OneCycleLR):  # which has set the rates of all groups from its own settings
            scale_rates(optimizer, self.encoder_lr_factor)
        elif isinstance(scheduler, CyclicLR) and self.encoder_lr_factor != 1:
            raise ValueError("encoder_lr_factor does not go with scheduler=cyclic; take another schedule.")
        config = {"scheduler": scheduler, "interval": self.interval}
        return {
            "optimizer": optimizer,
            "lr_scheduler": config | ({"monitor": self.monitor} if self.monitor else {}),
        }

    def parameter_groups(self) -> list[Any]:
        """The parameters trained now or later; the encoder's in a marked group of their own if it has its own rate."""
        later = self.frozen if self.unfreeze_at_epoch is not None else []
        waiting = {parameter for module in later for parameter in module.parameters()}
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad or parameter in waiting]
        if self.encoder_lr_factor == 1:
            return trained
        module = encoder_of(self.net)
        if module is None:
            raise ValueError(
                f"encoder_lr_factor={self.encoder_lr_factor}: {describe_missing_part(self.net, 'encoder')}"
            )
        encoder = set(module.parameters())
        groups = [
            {"params": [p for p in trained if p not in encoder], "encoder": False},
            {"params": [p for p in trained if p in encoder], "encoder": True},
        ]
        return [group for group in groups if group["params"]]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["segkit"] = self.facts


def loss_inputs(loss: Any) -> tuple[str, ...]:
    """The arguments of a loss: names out of logits (of masks), mask, presence and label."""
    return tuple(getattr(loss, "takes", ("logits", "mask")))


def is_pooled(loss: nn.Module | None) -> bool:
    """Whether a loss, or a part of it, is computed over the batch as a whole, not as a mean over its samples."""
    return loss is not None and any(getattr(module, "pooled", False) for module in loss.modules())


def as_float32(value: Tensor | None) -> Tensor | None:
    return value.float() if value is not None and value.is_floating_point() else value
