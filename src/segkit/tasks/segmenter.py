"""A network that segments pictures: all that prediction needs, without Lightning and metrics."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from segkit.geometry.objects import find_small
from segkit.models.depthwise import quick_gradients
from segkit.models.presence import Detection
from segkit.models.views import activate

FLAT = 0.1  # added to a picture's standard deviation, so that the noise of one without contrast is not enlarged
NOT_FINITE = (
    "the network gives NaN or infinite outputs for these pictures, which are no answer. Its training may have "
    "diverged: train again with a smaller optimizer.lr. With 16-bit numbers, try precision=32-true."
)


class Light(NamedTuple):
    """Mean and standard deviation of each channel of pictures, of values from 0 to 255: (N, 3, 1, 1)."""

    mean: Tensor
    std: Tensor


class Segments(Protocol):
    """What predicts: a `Segmenter`, a task that was trained, or one of a person's own. See `segkit.tasks.contract.Task`
    for what each part means."""

    net: nn.Module
    classes: tuple[str, ...]
    threshold: float
    temperature: float
    smallest: float
    facts: dict[str, Any]

    @property
    def device(self) -> torch.device: ...

    def detect(self, image: Tensor, light: Light | None = None) -> Detection: ...

    def activated(self, logits: Tensor) -> Tensor: ...

    def label(self, probabilities: Tensor, scale: float = 1.0) -> Tensor: ...

    def decide_by(self, threshold: float, smallest: float) -> None: ...

    def to(self, device: torch.device | str) -> Any: ...


class Segmenter(nn.Module):
    """Semantic segmentation with one foreground class (one logit channel) or C classes, and presence of the class.

    net: (N, 3, H, W) float32 to mask logits (N, C, H, W), to presence logits (N,), or to a `Detection` of both. mean,
    std: normalisation of pictures scaled to 0..1, per channel; None for the network's own `normalisation`, else 0
    and 1. standardise: whether after that each picture's own mean and standard deviation are taken out, channel by
    channel, so that light and colour cast do not count (Isensee et al., 2021, do so with all that is not CT).
    threshold: probability above which a pixel is foreground (one class). facts: plain containers stored in every
    checkpoint, so that it alone is enough to predict.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        standardise: bool = False,
        threshold: float = 0.5,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold}: expected a probability between 0 and 1.")
        self.net = net.to(memory_format=torch.channels_last)  # faster with every network and device that was measured
        self.classes, self.threshold, self.standardise = tuple(classes), threshold, standardise
        self.temperature, self.smallest = 1.0, 0.0  # see `set_calibration`
        self.facts = facts or {}
        own_mean, own_std = getattr(net, "normalisation", ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
        for name, values in (("mean", own_mean if mean is None else mean), ("std", own_std if std is None else std)):
            tensor = torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, tensor.view(1, 3, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def decide_by(self, threshold: float, smallest: float) -> None:
        """Say from now on what is foreground by another threshold and smallest object."""
        self.threshold, self.smallest = threshold, smallest

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """mean and std, rounded to six digits."""
        return {name: [round(value, 6) for value in getattr(self, name).flatten().tolist()] for name in ("mean", "std")}

    def forward(self, image: Tensor, light: Light | None = None) -> Any:
        """image (N, 3, H, W) uint8, as read, to the network's raw output; normalised here, on the device."""
        with quick_gradients(image):
            passed_on = {"light": light} if light is not None and getattr(self.net, "sees_light", False) else {}
            out = self.net(self.normalise(image, light), **passed_on)
        return out[:3] if isinstance(out, Detection) and out.spread is None else out  # jit.trace takes no None

    def normalise(self, image: Tensor, light: Light | None = None) -> Tensor:
        """light: that of the whole pictures that `image` shows windows of, for `standardise`; None for its own."""
        pixels = (image.float() / 255 - self.mean) / self.std
        if self.standardise:
            if light is None:
                std, mean = torch.std_mean(pixels, (2, 3), correction=0, keepdim=True)
            else:
                std, mean = light.std / 255 / self.std, (light.mean / 255 - self.mean) / self.std
            pixels = (pixels - mean) / (std + FLAT)
        return pixels.contiguous(memory_format=torch.channels_last)

    def detect(self, image: Tensor, light: Light | None = None) -> Detection:
        """image (N, 3, H, W) uint8 to the network's output. light: see `normalise`."""
        out = self(image, light)
        if isinstance(out, Tensor):
            return Detection(None, out, None) if out.ndim == 4 else Detection(out, None, None)
        return Detection(*out)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Mask logits over the temperature."""
        return logits if self.temperature == 1 else logits.float() / self.temperature

    def activated(self, logits: Tensor) -> Tensor:
        return activate(self.calibrated(logits))

    def label(self, probabilities: Tensor, scale: float = 1.0) -> Tensor:
        """Probabilities (N, C, H, W) to class numbers (N, H, W) uint8: the most probable; of one class, 1 above the
        threshold, without objects that are too small. scale: pixels of theirs for one that the network sees."""
        if len(self.classes) > 1:
            return probabilities.argmax(1).to(torch.uint8)
        found = probabilities[:, 0] > self.threshold
        return (found & ~find_small(found, scale * self.smallest)).to(torch.uint8)


def is_finite(out: Detection) -> Tensor:
    """Whether all logits are finite, a bool tensor on their device."""
    logits = [value for value in (out.presence, out.masks) if value is not None]
    return torch.stack([torch.isfinite(value).all() for value in logits]).all()
