"""The LightningModules: what is computed on a batch, what is logged, what a checkpoint carries."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from segkit.metrics import MeanLoss
from segkit.models.presence import Detection, UNetClassifier, gate_open
from segkit.models.pretrained import encoder_of
from segkit.scores import Scores

Batch = dict[str, Any]
RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # of a parameter group

MISSING = {  # what a loss wants and the network or the data do not give
    "logits": "this loss compares masks, but the network says only whether the class is there; use loss=presence",
    "presence": "this loss is of presence, which the network does not give; say "
    "model=unet_classifier or vgg_classifier",
    "label": "this loss wants to know of every sample whether the class is there; set dataset.presence_threshold, the "
    "share of a sample's area from which on it is (0.001)",
}


class SegmentationTask(LightningModule):
    """Semantic segmentation: one foreground class (one logit channel), or C classes; and whether the class is there.

    net: (N, 3, H, W) float32 to mask logits (N, C, H, W), to presence logits (N,), or to a `Detection` of both. freeze:
    modules of it, by name, whose weights and batch-norm statistics stay as they are, the weights until
    `unfreeze_at_epoch` (the first is 0). encoder_lr_factor: what the rate of the module `encoder` is multiplied
    by. mean, std: normalisation of pictures scaled to 0..1, a channel; None for that of a network with `normalisation`,
    else 0 and 1.
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
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        threshold: float = 0.5,
        beta: float = 2.0,
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
        super().__init__()
        if not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold}: expected a probability between 0 and 1.")
        self.net = net.to(memory_format=torch.channels_last)  # faster with every network and device measured
        self.classes, self.threshold = tuple(classes), threshold
        self.loss, self.optimizer, self.scheduler = loss, optimizer, scheduler
        self.interval, self.monitor, self.seed, self.facts = interval, monitor, seed, facts or {}
        own_mean, own_std = getattr(net, "normalisation", ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
        for name, values in (("mean", own_mean if mean is None else mean), ("std", own_std if std is None else std)):
            tensor = torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, tensor.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("bad_step", torch.tensor(-1), persistent=False)
        self.example_input_array = torch.zeros(1, 3, *example_size, dtype=torch.uint8)
        for split in ("train", "val", "test"):
            self.add_module(f"{split}_scores", Scores(classes, threshold, beta))
        self.frozen = frozen_modules(net, freeze)
        self.unfreeze_at_epoch, self.encoder_lr_factor = unfreeze_at_epoch, encoder_lr_factor
        # of validation and test; made at the first batch, which shows the parts
        self.mean_losses: dict[str, MeanLoss] = {}

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """mean and std, rounded as they were given."""
        return {name: [round(value, 6) for value in getattr(self, name).flatten().tolist()] for name in ("mean", "std")}

    def scores(self, split: str) -> Scores:
        """The metrics of train, val or test."""
        return cast(Scores, self.get_submodule(f"{split}_scores"))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, image: Tensor) -> Any:
        """image (N, 3, H, W) uint8, as read, to what the network gives; normalised here, on the device."""
        return self.net(self.normalised(image))

    def normalised(self, image: Tensor) -> Tensor:
        pixels = (image.float() / 255 - self.mean) / self.std
        return pixels.contiguous(memory_format=torch.channels_last)

    def detect(self, image: Tensor) -> Detection:
        """image (N, 3, H, W) uint8 to what the network says of it; in training no more than the loss looks at."""
        if self.training and isinstance(self.net, UNetClassifier) and takes(self.loss) == ("presence", "label"):
            return self.net(self.normalised(image), masks=False)  # type: ignore[no-any-return]
        out = self(image)
        if isinstance(out, Tensor):
            return Detection(None, out, None) if out.ndim == 4 else Detection(out, None, None)
        return Detection(*out)

    def probabilities(self, image: Tensor) -> Tensor:
        """image (N, 3, H, W) uint8 to probabilities (N, C, H, W) float32: sigmoid for one class, else softmax."""
        masks = self.detect(image).masks
        if masks is None:
            raise ValueError("This network says whether the class is there and gives no masks.")
        return self.activated(masks)

    def activated(self, logits: Tensor) -> Tensor:
        """Mask logits to probabilities, float32."""
        logits = logits.float()
        return logits.sigmoid() if len(self.classes) == 1 else logits.softmax(1)

    def label(self, probabilities: Tensor) -> Tensor:
        """Probabilities (N, C, H, W) to class numbers (N, H, W) uint8: above the threshold, or the most probable."""
        if len(self.classes) == 1:
            return (probabilities[:, 0] > self.threshold).to(torch.uint8)
        return probabilities.argmax(1).to(torch.uint8)

    def losses(self, out: Detection, mask: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """The loss, and its parts where it is a sum, in float32 whatever the precision."""
        loss: Any = self.loss
        if loss is None:
            return {}
        values = {"logits": out.masks, "presence": out.presence, "mask": mask, "label": label}
        given = [as_float32(values[name]) for name in takes(loss)]
        for name, value in zip(takes(loss), given, strict=True):
            if value is None:
                raise ValueError(MISSING[name])
        with torch.autocast(mask.device.type, enabled=False):
            parts = loss.parts(*given) if hasattr(loss, "parts") else {}
            total = loss.combine(parts) if hasattr(loss, "combine") else loss(*given)
            return {"loss": total} | {f"loss/{name}": part for name, part in parts.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        out, mask = self.detect(batch["image"]), batch["mask"].long()
        losses = self.losses(out, mask, batch.get("label"))
        self._watch(losses["loss"].detach())
        self.scores("train").update(out, batch)
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
        if self.unfreeze_at_epoch is not None and self.current_epoch >= self.unfreeze_at_epoch:
            for module in self.frozen:  # their batch norm stays as it is: what follows has learnt to live with it
                module.requires_grad_(True)
        # dropout and the like then depend on (seed, epoch) alone: a resumed run draws what an uninterrupted one draws
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch * 1_009 + self.global_rank)

    def on_train_epoch_end(self) -> None:
        self._stop_if_not_finite()
        self._log_metrics("train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", batch)

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test", reset=False)  # its rows per picture are read after the test

    def _evaluate(self, split: str, batch: Batch) -> None:
        mask, label = batch["mask"].long(), batch.get("label")
        with gate_open(self.net) as self.scores(split).gate:  # decoded once for both: gated, masks are then emptied
            out = self.detect(batch["image"])
        self.scores(split).update(out, batch)
        for one, counted in enumerate(batch["index"] >= 0):  # one by one, so that the mean holds for any batch size
            row = slice(one, one + 1)
            sample = Detection(*(None if value is None else value[row] for value in out))
            for name, value in self.losses(sample, mask[row], None if label is None else label[row]).items():
                if name not in self.mean_losses:
                    self.mean_losses[name] = MeanLoss().to(self.device)
                self.mean_losses[name].update(value, counted)

    def _log_metrics(self, split: str, reset: bool = True) -> None:
        metrics = self.scores(split)
        scores = {f"{split}/{name}": value for name, value in metrics.compute().items()}
        if split != "train":
            scores = {f"{split}/{name}": float(mean.compute()) for name, mean in self.mean_losses.items()} | scores
            for mean in self.mean_losses.values():
                mean.reset()
        shown = f"{split}/iou" if f"{split}/iou" in scores else f"{split}/presence_f1"
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
        """What is trained now or later; the encoder's in a group of their own, marked so, where it has a rate of its
        own."""
        later = self.frozen if self.unfreeze_at_epoch is not None else []
        waiting = {parameter for module in later for parameter in module.parameters()}
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad or parameter in waiting]
        if self.encoder_lr_factor == 1:
            return trained
        module = encoder_of(self.net)
        if module is None:
            raise ValueError(f"encoder_lr_factor={self.encoder_lr_factor}: {lacks(self.net, 'encoder')}")
        encoder = set(module.parameters())
        groups = [{"params": [p for p in trained if p not in encoder], "encoder": False},
                  {"params": [p for p in trained if p in encoder], "encoder": True}]  # fmt: skip
        return [group for group in groups if group["params"]]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["segkit"] = self.facts


def takes(loss: Any) -> tuple[str, ...]:
    """What a loss is called with: names out of logits (of masks), mask, presence and label."""
    return tuple(getattr(loss, "takes", ("logits", "mask")))


def scale_rates(optimizer: Optimizer, factor: float) -> None:
    """Multiply every rate of the encoder's group, if there is one."""
    for group in optimizer.param_groups:
        if group.get("encoder"):
            group.update({key: group[key] * factor for key in RATES if key in group})


def as_float32(value: Tensor | None) -> Tensor | None:
    return value.float() if value is not None and value.is_floating_point() else value


def lacks(net: nn.Module, part: str) -> str:
    children = ", ".join(name for name, _ in net.named_children())
    return f"{type(net).__name__} has no part called {part!r}, but {children}."


def frozen_modules(net: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The named modules of a network, their parameters without gradients; ValueError for a name it does not have."""
    known = dict(net.named_modules())
    if (encoder := encoder_of(net)) is not None:
        known["encoder"] = encoder
    if unknown := [name for name in names if not name or name not in known]:
        raise ValueError(f"freeze={list(names)}: {lacks(net, unknown[0])}")
    modules = [known[name] for name in names]
    for module in modules:
        module.requires_grad_(False).eval()
    return modules
