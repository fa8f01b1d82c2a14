"""The parts of `loss=combo`: every loss of masks that there is a file of, so that no list of them must be kept."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra.core.config_store import ConfigStore

from segkit import config_dir
from segkit.choices.completion import merged
from segkit.choices.listing import find_choices
from segkit.configs.signatures import read_constant


def offer_parts(own: Sequence[Path | str] = ()) -> None:
    """Have Hydra know `loss/parts`, with which conf/loss/combo.yaml begins: the losses of `conf/loss`, and of those of
    one's own folders (--config-dir), each under its name."""
    names = sorted({*shipped(), *(name for folder in own for name in losses_of_masks(Path(folder)))})
    ConfigStore.instance().store("parts", {"defaults": [f"{name}@{name}" for name in names]}, group="loss")


@cache
def shipped() -> list[str]:
    return losses_of_masks(config_dir())


def losses_of_masks(folder: Path) -> list[str]:
    """The losses of a folder that compare logits with masks, and nothing else; a combination is no part of one."""
    found = {name: merged([config_dir(), folder], "loss", name) for name in find_choices([folder], "loss")}
    return [
        name
        for name, settings in found.items()
        if settings.get("_target_") != "segkit.losses.Combo"
        and read_constant(str(settings.get("_target_")), "takes") in (None, ("logits", "mask"))
    ]
