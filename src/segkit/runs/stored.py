"""What a checkpoint holds, read without running anything that it names."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.configs.errors import explain
from segkit.configs.moved import update_names
from segkit.configs.places import find_checkpoint
from segkit.files.reading import read_checkpoint
from segkit.models.blocks import fold_batch_norm
from segkit.runs.checkpoints import check_tensors
from segkit.security.stored_configs import check_facts
from segkit.tasks.deciding import set_calibration, set_views
from segkit.tasks.segmenter import Segments

SPARE = 2**29  # extra bytes for building a network: libraries build more than they keep


class Stored(NamedTuple):
    """A checkpoint: its facts, and its tensors by name. config: as it was trained, with the normalisation and the
    threshold of then, even if a library's values have changed since."""

    path: Path
    facts: dict[str, Any]
    weights: Mapping[str, Tensor]
    config: dict[str, Any]


def read_stored(run: str, trust: Sequence[str] = (), own: bool = False) -> Stored:
    """Read the checkpoint that `run` names: only tensors and plain containers are unpickled.

    Its config may name only what `segkit.security.allowed` lists, with the arguments it lists; `trust` adds modules of
    your own ("my_models"), and `own` trusts everything, for a run just trained. ValueError for a file that is not a
    segkit checkpoint, that asks for anything else, or whose weights are not finite.
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
    seen: dict[str, Any] = {name: list(map(float, facts["normalisation"][name])) for name in ("mean", "std")}
    seen["threshold"] = float(facts["threshold"])
    config = facts["config"]
    return Stored(path, facts, weights, config | {"model": config["model"] | seen})  # type: ignore[arg-type]


@contextmanager
def explaining(stored: Stored) -> Iterator[None]:
    """Inside, a network is built in limited memory, and whatever goes wrong names the checkpoint."""
    try:
        with MemoryLimit(4 * stored.path.stat().st_size + SPARE):
            yield
    except (ValueError, ImportError) as error:
        raise ValueError(f"{stored.path}: {error}") from error
    except Exception as error:  # of many kinds, if a config does not fit the library or the weights
        lines = "".join(f"\n{line.strip()}" for line in explain(error).splitlines()[:4])
        raise ValueError(
            f"{stored.path}: its network cannot be built, or its weights are another network's:{lines}"
        ) from error


def make_ready(task: Segments, stored: Stored, tta: str | None) -> None:
    """Prepare a loaded network for prediction: batch norm folded into the convolutions, calibrated, with its views."""
    task.facts = stored.facts
    fold_batch_norm(task.net)
    task.net.to(memory_format=torch.channels_last)
    set_calibration(task, stored.facts.get("calibration") or {})
    set_views(task, tta or stored.config.get("tta") or "none")


class MemoryLimit(TorchDispatchMode):
    """Raises ValueError before tensors take more bytes in total than allowed: a few words of a config can ask for a
    network of any size, far beyond the checkpoint's tensors."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: else torch would import its compiler for this class, which takes longer than a prediction."""
        return False

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
