"""Load a task from a checkpoint, without running anything that it names."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.configs.errors import explain
from segkit.configs.moved import update_names
from segkit.configs.places import find_checkpoint
from segkit.files.reading import read_checkpoint
from segkit.models.blocks import fold_batch_norm
from segkit.runs.build import build_task
from segkit.runs.checkpoints import check_tensors
from segkit.security.stored_configs import check_facts
from segkit.tasks.contract import Task
from segkit.tasks.deciding import set_calibration, set_views

SPARE = 2**29  # extra bytes for building a network: libraries build more than they keep


def load(run: str, trust: Sequence[str] = (), own: bool = False, tta: str | None = None) -> Task:
    """Load a checkpoint's task with its weights, for prediction (batch norm is folded into the convolutions). Its
    config is `task.facts["config"]`.

    Only tensors and plain containers are unpickled, and only what `segkit.security.allowed` lists is built, with the
    arguments it lists. `trust` adds classes of your own modules ("my_models"); `own` trusts everything, for a run just
    trained. `tta`: the views of a picture (`segkit.models.views`); None for the run's own. Nothing is downloaded.
    Raises ValueError for a file that is not a segkit checkpoint, that asks for anything else, or whose weights are not
    finite.
    """
    path = find_checkpoint(run)
    checkpoint = read_checkpoint(path)
    facts, weights = checkpoint.get("segkit"), checkpoint.get("state_dict")
    if not isinstance(facts, dict) or "config" not in facts:
        raise ValueError(f"{path} is not a segkit checkpoint: it has no config.")
    facts = update_names(facts)
    if not own:
        check_facts(facts, path, trust)
    check_tensors(weights, path)
    config = facts["config"]
    # as in training, even if a library's values have changed since
    stored: dict[str, Any] = {name: list(map(float, facts["normalisation"][name])) for name in ("mean", "std")}
    stored["threshold"] = float(facts["threshold"])
    try:
        with MemoryLimit(4 * path.stat().st_size + SPARE):
            task = build_task(config | {"model": config["model"] | stored})
        task.facts = facts
        task.load_state_dict(cast(Mapping[str, Any], weights))
    except (ValueError, ImportError) as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # of many kinds, if a config does not fit the library or the weights
        lines = "".join(f"\n{line.strip()}" for line in explain(error).splitlines()[:4])
        raise ValueError(
            f"{path}: its network cannot be built, or its weights are another network's:{lines}"
        ) from error
    fold_batch_norm(task.net)
    task.net.to(memory_format=torch.channels_last)
    set_calibration(task, facts.get("calibration") or {})
    set_views(task, tta or config.get("tta") or "none")
    return task.eval()


class MemoryLimit(TorchDispatchMode):
    """Raises ValueError before tensors take more bytes in total than allowed: a few words of a config can ask for a
    network of any size, far beyond the checkpoint's tensors."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most, self.made = most, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        if size and all(isinstance(side, int) for side in size):
            self.made += 4 * math.prod(size)
            if self.made > self.most:
                raise ValueError(
                    f"the network of this config needs more than {self.most >> 20} MB, far more than the weights that "
                    "lie beside it. It is not built."
                )
        return func(*args, **(kwargs or {}))
