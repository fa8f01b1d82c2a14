"""The parts of `loss=combo`: every loss of masks that has a file, so that no list of them needs to be kept."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra.core.config_store import ConfigStore

from segkit import config_dir
from segkit.choices.completion import load_merged
from segkit.choices.listing import find_choices
from segkit.configs.signatures import read_constant


def register_loss_parts(own: Sequence[Path | str] = ()) -> None:
    """Register `loss/parts`, with which conf/loss/combo.yaml begins, with Hydra: the losses in `conf/loss` and in the
    user's own folders (--config-dir), each under its name."""
    names = sorted({*list_shipped_losses(), *(name for folder in own for name in find_mask_losses(Path(folder)))})
    ConfigStore.instance().store("parts", {"defaults": [f"{name}@{name}" for name in names]}, group="loss")


@cache
def list_shipped_losses() -> list[str]:
    return find_mask_losses(config_dir())


def find_mask_losses(folder: Path) -> list[str]:
    """The losses of a folder that compare logits with masks, and nothing else; a combination is no part of one."""
    found = {name: load_merged([config_dir(), folder], "loss", name) for name in find_choices([folder], "loss")}
    return [
        name
        for name, settings in found.items()
        if settings.get("_target_") != "segkit.losses.Combo"
        and read_constant(str(settings.get("_target_")), "takes") in (None, ("logits", "mask"))
    ]
