"""How Lightning writes and reads checkpoint files."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io import TorchCheckpointIO

from segkit.configs.identity import move_paths
from segkit.files.reading import read_checkpoint
from segkit.runs.checkpoints import write_checkpoint
from segkit.security.kinds import is_inside


class CheckpointFiles(TorchCheckpointIO):
    """best.ckpt holds what prediction needs; what only a resumed training needs stays in last.ckpt."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if Path(path).name == "best.ckpt":
            kept = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", "segkit")
            checkpoint = {key: checkpoint[key] for key in kept}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, *args: Any, **more: Any) -> dict[str, Any]:
        """Also works for a run folder that was moved or copied, where ModelCheckpoint would drop its best score.

        ModelCheckpoint deletes the files it lists as its own, so these must lie in the checkpoint's folder."""
        checkpoint = read_checkpoint(Path(path))
        for state in checkpoint.get("callbacks", {}).values():
            if (old := state.get("dirpath")) and Path(path).name == "last.ckpt":
                state.update(move_paths(state, old, str(Path(path).resolve().parent)))
            check_paths(state, Path(path))
        return checkpoint


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
