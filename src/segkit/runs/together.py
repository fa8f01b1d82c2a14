"""Several runs that predict together: an ensemble."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.models.presence import Detection, find_gated, gives_masks
from segkit.models.views import Views, to_logits
from segkit.runs.segmenters import load_segmenter
from segkit.tasks.seeing import InputMode, find_input_mode, find_stride
from segkit.tasks.segmenter import Light, Segmenter, Segments

Loaded = TypeVar("Loaded", bound=Segments)


class Ensemble(nn.Module):
    """forward(image (N, 3, H, W) in 0..1) -> masks of the members' mean probabilities, as logits, and their spread: the
    standard deviation over members of the probability of what the mean says (Lakshminarayanan et al., 2017).

    members: what predicts, each with its own normalisation, views and temperature. scales: by which each resizes what
    it is given before it looks, (down, across). sees_light: whether a member takes out the light of whole pictures, and
    so has to know it where `image` is a part of one. stride: the step in which all of them pool.
    """

    def __init__(self, members: Sequence[Segments], scales: Sequence[tuple[float, float]]) -> None:
        super().__init__()
        self.members, self.scales = nn.ModuleList(cast(Any, members)), tuple(scales)
        self.stride = math.lcm(*(find_stride(member.net) for member in members))
        self.sees_light = any(getattr(member, "standardise", False) for member in members)

    def forward(self, image: Tensor, light: Light | None = None) -> Detection:
        asked = zip(self.members, self.scales, strict=True)
        found = torch.stack([self._ask(cast(Any, member), image, scale, light) for member, scale in asked])
        mean = found.mean(0)
        spread = found.std(0, correction=0).gather(1, mean.argmax(1, keepdim=True))
        return Detection(None, to_logits(mean), None, spread)

    def _ask(self, member: Segments, image: Tensor, scale: tuple[float, float], light: Light | None) -> Tensor:
        """The probabilities that a member gives, in the image's size."""
        shape = image.shape[2:]
        size = [max(round(side * factor), 1) for side, factor in zip(shape, scale, strict=True)]
        if size == [*shape]:
            return probabilities_of(member, image, light)
        small = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
        return F.interpolate(probabilities_of(member, small, light), shape, mode="bilinear", align_corners=False)


def probabilities_of(member: Segments, image: Tensor, light: Light | None) -> Tensor:
    """A member's probabilities for pictures (N, 3, H, W) in 0..1."""
    logits = member.detect(image * 255, light).masks
    if logits is None:  # a network of one's own that does not say so by `masks = False`
        raise ValueError("a run of this ensemble gives no masks; an ensemble is of runs that give masks alone.")
    return member.activated(logits)


def load_together(runs: Sequence[str], load: Callable[..., Loaded], trust: Sequence[str], tta: str | None) -> Loaded:
    """What `load` gives for one run; of several, for the first, with an `Ensemble` of all in its network's place.

    It sees pictures in the largest size of any, and decides by the mean of their thresholds. ValueError for runs that
    do not go together.
    """
    if len(runs) == 1:
        return load(runs[0], trust, tta=tta)
    members = [load_segmenter(run, trust, tta) for run in runs]
    modes = [find_input_mode(member.facts["config"]) for member in members]
    check_alike(runs, members, modes)
    task: Any = load(runs[0], trust, tta="none")
    largest = max((mode.size for mode in modes), key=lambda size: size[0] * size[1])
    resized = modes[0].mode == "resize"
    sides = [mode.size if resized else largest for mode in modes]
    task.net = Ensemble(members, [(tall / largest[0], wide / largest[1]) for tall, wide in sides])
    task.mean.zero_()  # each member has its own
    task.std.fill_(1)
    task.standardise, task.temperature = False, 1.0
    areas = [largest[0] * largest[1] / (mode.size[0] * mode.size[1]) if resized else 1.0 for mode in modes]
    smallest = [member.smallest * area for member, area in zip(members, areas, strict=True)]
    task.decide_by(sum(one.threshold for one in members) / len(members), sum(smallest) / len(members))
    config = task.facts["config"]
    task.facts = task.facts | {"config": config | {"dataset": config["dataset"] | {"size": list(largest)}}}
    return cast(Loaded, task.eval())


def views_of(net: nn.Module) -> str:
    """The views in which a network, or the members of an ensemble, look at a picture: none, mirror, flips or d4."""
    nets = [one.net for one in net.members] if isinstance(net, Ensemble) else [net]
    return "/".join(sorted({str(one.how) if isinstance(one, Views) else "none" for one in nets}))


def check_alike(runs: Sequence[str], members: Sequence[Segments], modes: Sequence[InputMode]) -> None:
    """ValueError unless runs predict masks of the same classes and see pictures in the same way."""
    for run, member, mode in zip(runs, members, modes, strict=True):
        if not isinstance(member, Segmenter) or not gives_masks(member.net) or find_gated(member.net) is not None:
            raise ValueError(f"run={run} gives more or other than masks; an ensemble is of runs that give masks alone.")
        if member.classes != members[0].classes:
            raise ValueError(
                f"run={run} knows the classes {[*member.classes]}, and {runs[0]} {[*members[0].classes]}: an ensemble "
                "is of runs with the same classes in the same order."
            )
        way, first = (_describe(one) for one in (mode, modes[0]))
        if way != first:
            raise ValueError(
                f"run={run} sees pictures {way}, and {runs[0]} {first}: an ensemble is of runs that see them alike."
            )


def _describe(mode: InputMode) -> str:
    """How pictures are seen; of resized ones without the size, which may differ."""
    if mode.mode == "resize":
        return "resized as a whole"
    windows = f"in windows of {mode.size[0]}×{mode.size[1]}" if mode.mode in ("five", "grid") else "in their own size"
    return f"{windows} at a scale of {mode.scale:g}"
