"""Checkpoint files: how they are written and found."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from segkit.configs.composing import format_argument
from segkit.configs.identity import move_paths
from segkit.files.reading import first_line, read_checkpoint
from segkit.files.writing import write_bytes
from segkit.security.kinds import is_inside


class CheckpointFiles(TorchCheckpointIO):
    """best.ckpt holds what prediction needs; what only a resumed training needs stays in last.ckpt."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if Path(path).name == "best.ckpt":
            kept = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", "segkit")
            checkpoint = {key: checkpoint[key] for key in kept}
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), content.getbuffer())

    def load_checkpoint(self, path: Any, *args: Any, **more: Any) -> dict[str, Any]:
        """Also works for a run folder that was moved or copied, where ModelCheckpoint would drop its best score.

        ModelCheckpoint deletes the files it lists as its own, so these must lie in the checkpoint's folder."""
        checkpoint = read_checkpoint(Path(path))
        for state in checkpoint.get("callbacks", {}).values():
            if (old := state.get("dirpath")) and Path(path).name == "last.ckpt":
                state.update(move_paths(state, old, str(Path(path).resolve().parent)))
            check_paths(state, Path(path))
        return checkpoint


def store_calibration(path: Path, found: Mapping[str, float]) -> None:
    """Write what was calibrated (see `segkit.tasks.deciding.set_calibration`) into a checkpoint's facts."""
    checkpoint = read_checkpoint(path)
    checkpoint["segkit"]["calibration"] = dict(found)
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_bytes(path, content.getbuffer())


def check_paths(state: dict[str, Any], path: Path) -> None:
    """Raise ValueError if a callback's state names a file outside its checkpoint's folder."""
    named = [state.get(key) for key in ("best_model_path", "kth_best_model_path", "last_model_path")]
    best = state.get("best_k_models") or {}
    if not isinstance(best, dict):
        kind = type(best).__name__
        raise ValueError(f"{path} is damaged: best_k_models of a callback is a {kind}, no mapping. It is not loaded.")
    for found in (*named, *best):
        if found and not is_inside(str(found), path.parent):
            raise ValueError(
                f"{path} says that {found} is a checkpoint of its run; expected one in {path.parent}. It is not loaded."
            )


def read(folder: Path, name: str = "last") -> dict[str, Any]:
    """Read a run's checkpoint; its tensors stay on disk until they are used."""
    path = folder / "checkpoints" / f"{name}.ckpt"
    try:
        checkpoint = read_checkpoint(path)
        if missing := [key for key in ("epoch", "state_dict") if key not in checkpoint]:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except FileNotFoundError:
        raise
    except Exception as error:  # of many kinds
        why = first_line(error).removeprefix(f"{path} ")
        raise ValueError(
            f"{path} is cut short or damaged ({why}). Restore a copy of it, or start a new run; "
            f"{format_argument('init_from', folder)} starts one with the weights of best.ckpt."
        ) from error
    return checkpoint


def check_tensors(weights: Any, path: Path) -> None:
    """Raise ValueError unless a checkpoint maps names to finite tensors, which `read_checkpoint` has found in the
    file."""
    if not isinstance(weights, Mapping) or not all(isinstance(one, torch.Tensor) for one in weights.values()):
        raise ValueError(f"{path} is not a segkit checkpoint, or is damaged: it has no state_dict of tensors.")
    check_finite(weights, path)


def check_finite(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse weights that contain NaN or infinity: the network's outputs would be meaningless."""
    bad = [name for name, value in weights.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise ValueError(
            f"{path}: {len(bad)} of {len(weights)} tensors hold NaN or infinite values ({', '.join(bad[:3])}"
            f"{', …' * (len(bad) > 3)}), expected finite weights. The training diverged or the file was changed. Take "
            "another checkpoint, or train again with a smaller optimizer.lr or trainer.gradient_clip_val=1."
        )
