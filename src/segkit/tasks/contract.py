"""The interface of a task for the rest of segkit: runs, evaluation, prediction and reports."""

from abc import abstractmethod
from typing import Any, TypedDict

from lightning import LightningModule
from torch import Tensor, nn

from segkit.models.presence import Detection
from segkit.tasks.scores import Scores
from segkit.tasks.segmenter import Light


class Batch(TypedDict, total=False):
    """N samples from a segkit loader. The first four are always there.

    image (N, 3, H, W) uint8 RGB; mask (N, H, W) uint8, 0..C-1 and 255 = ignored; name, a list of N; index (N,) int64,
    the sample's number in its split, or -1 for one that only fills up a process's last batch, which metrics leave out.

    label (N,) int64: with `presence_threshold`, whether the class is there, 0 or 1. photometric (N, …) float32: the
    random parameters of colour changes that run on the device.

    With K crops of each of P pictures, N is P · K and `name` has P entries. There are also where (N, 2) int64, the
    crops' corners (top, left), and for scoring whole (P, H, W) uint8, the pictures' full masks, and picture (P,) int64,
    their number; `index` is then picture · CROPS_A_PICTURE + crop.
    """

    image: Tensor
    mask: Tensor
    name: list[str]
    index: Tensor
    label: Tensor
    photometric: Tensor
    where: Tensor
    whole: Tensor
    picture: Tensor


class Task(LightningModule):
    """A network with its training, its scores and its predictions.

    classes: their names; a single one is foreground against background. threshold: with one class, the probability
    above which a pixel is foreground. temperature: by which logits are divided before they become probabilities (Guo et
    al., 2017). smallest: with one class, the area of an object in pixels as the network sees them, below which it is
    left out. facts: plain containers stored in every checkpoint, so that it alone is enough to predict. frozen: the
    parts of the network that are not trained. loss: None in a task that was built to predict.
    """

    net: nn.Module
    classes: tuple[str, ...]
    threshold: float
    temperature: float
    smallest: float
    facts: dict[str, Any]
    frozen: list[nn.Module]
    loss: nn.Module | None

    @property
    @abstractmethod
    def normalisation(self) -> dict[str, list[float]]:
        """`mean` and `std`, three numbers each, of pictures scaled to 0..1."""

    @abstractmethod
    def decide_by(self, threshold: float, smallest: float) -> None:
        """Mask and score from now on by another threshold and smallest object."""

    @abstractmethod
    def scores(self, split: str) -> Scores:
        """The metrics of train, val or test."""

    @abstractmethod
    def detect(self, image: Tensor, light: Light | None = None) -> Detection:
        """image (N, 3, H, W) uint8, as read, to the network's output. light: of the whole pictures that `image` shows
        windows of, for a task that takes it out."""

    def probabilities(self, image: Tensor) -> Tensor:
        """image (N, 3, H, W) uint8 to probabilities (N, C, H, W) float32; ValueError for a network without masks."""
        masks = self.detect(image).masks
        if masks is None:
            raise ValueError("This network says whether the class is there and gives no masks.")
        return self.activated(masks)

    @abstractmethod
    def activated(self, logits: Tensor) -> Tensor:
        """Mask logits (N, C, H, W) to probabilities, float32."""

    @abstractmethod
    def label(self, probabilities: Tensor, scale: float = 1.0) -> Tensor:
        """Probabilities (N, C, H, W) to class numbers (N, H, W) uint8. scale: pixels of theirs for one that the network
        sees."""

    @abstractmethod
    def losses(self, out: Detection, mask: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """`loss` of a batch, and `loss/<part>` if it is a sum: mask (N, H, W) int64, label (N,) int64."""
