"""Checkpoint files: what is read from them, and checked."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from segkit.configs.composing import format_argument
from segkit.files.reading import first_line, read_checkpoint
from segkit.files.writing import write_bytes


def store_calibration(path: Path, found: Mapping[str, float]) -> None:
    """Write what was calibrated (see `segkit.tasks.deciding.set_calibration`) into a checkpoint's facts."""
    checkpoint = read_checkpoint(path)
    checkpoint["segkit"]["calibration"] = dict(found)
    write_checkpoint(path, checkpoint)


def write_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_bytes(path, content.getbuffer())


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
