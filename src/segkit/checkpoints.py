"""Checkpoint files: how they are written, and what a file of unknown origin may have built."""

import importlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from segkit.configs import rebased

# What a checkpoint of unknown origin may have built: a class below one of these, and of the expected kind.
NETWORKS = ("segkit.", "torch.nn.", "torchvision.models.", "segmentation_models_pytorch.", "timm.")
DATASETS = ("segkit.datasets.",)
TRAINING = (*NETWORKS, "torch.optim.", "lightning.Trainer", "lightning.pytorch.", "albumentations.")  # of a resumed run


class CheckpointFiles(TorchCheckpointIO):
    """best.ckpt holds what prediction needs; what only a resumed training needs stays in last.ckpt."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if Path(path).name == "best.ckpt":
            kept = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", "segkit")
            checkpoint = {key: checkpoint[key] for key in kept}
        content = io.BytesIO()
        torch.save(checkpoint, content)
        part = Path(path).with_name(f".{Path(path).name}.part")  # beside it: a move between file systems is a copy
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.getbuffer())
        part.replace(path)

    def load_checkpoint(self, path: Any, *args: Any, **more: Any) -> dict[str, Any]:
        """Also of a run folder that was moved or copied: ModelCheckpoint drops its best score with its old folder."""
        checkpoint = super().load_checkpoint(path, *args, **more)
        for state in checkpoint.get("callbacks", {}).values():
            if (old := state.get("dirpath")) and Path(path).name == "last.ckpt":
                state.update(rebased(state, old, str(Path(path).resolve().parent)))
        return checkpoint


def read(folder: Path, name: str = "last") -> dict[str, Any]:
    """A run's checkpoint, its tensors left on the disk until they are looked at."""
    path = folder / "checkpoints" / f"{name}.ckpt"
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return checkpoint


def checkpoint_path(run: str, key: str = "run") -> Path:
    """The checkpoint that `run` names: a .ckpt file, or a run folder's best.ckpt. `key`: the setting for messages."""
    path = Path(run)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.is_file() and (Path(run) / "stages").is_dir():
        names = ", ".join(sorted(f"{run}/stages/{stage.name}" for stage in (Path(run) / "stages").iterdir()))
        raise FileNotFoundError(
            f"{key}={run}: this run is not finished. Go on with python -m segkit.train resume={run}, or give the "
            f"folder of one of its stages: {names}."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"{key}={run}: no checkpoint there. Give a run folder (outputs/<name>/<job>, with checkpoints/best.ckpt in "
            "it) or a .ckpt file."
        )
    return path


def modules(trust: Sequence[str]) -> list[str]:
    """The prefixes of dotted names that `trust=[my_models]` adds."""
    return [f"{module}." for module in trust]


def foreign(node: Any) -> list[str]:
    """The modules outside of segkit and the model libraries that a config would build from: what `trust` must name."""
    if isinstance(node, Mapping):
        name = str(node.get("_target_", NETWORKS[0]))
        return sorted({*([] if name.startswith(NETWORKS) else [name.split(".", 1)[0]]), *foreign([*node.values()])})
    return sorted({name for value in node for name in foreign(value)}) if isinstance(node, list | tuple) else []


def check_targets(node: Any, allowed: Sequence[str], where: str, kind: type = object) -> None:
    """Refuse a config that would have anything built, at any depth, but a class of that kind whose dotted name begins
    with one of `allowed`."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_target(node["_target_"], allowed, where, kind)
        node = list(node.values())
    if isinstance(node, list | tuple):
        for value in node:
            check_targets(value, allowed, where, kind)
    elif isinstance(node, str) and "${" in node:
        raise ValueError(f"{where}: a stored config has values, not expressions; got {node!r}. It is not loaded.")


def _check_target(name: Any, allowed: Sequence[str], where: str, kind: type) -> None:
    if not isinstance(name, str) or not name.startswith(tuple(allowed)):
        raise ValueError(
            f"{where} asks for {name!r}, which is neither part of segkit nor of a library that it may use here. If it "
            f"is your own code, say trust=[{str(name).split('.', 1)[0]}]; if the file is from someone else, do not use "
            "it."
        )
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where} asks for {name!r}, which cannot be imported: {error}") from error
    if name.startswith("segkit.schedules."):
        return
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ValueError(f"{where} asks for {name!r}, which is not a {kind.__name__}. It is not loaded.")
