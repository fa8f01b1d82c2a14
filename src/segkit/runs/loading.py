"""Load a task from a checkpoint, to score it; `segkit.runs.segmenters` loads what predicts alone, which is quicker."""

from collections.abc import Sequence

from segkit.runs.build import build_task
from segkit.runs.stored import explaining, make_ready, read_stored
from segkit.tasks.contract import Task


def load(run: str, trust: Sequence[str] = (), own: bool = False, tta: str | None = None) -> Task:
    """Load a checkpoint's task with its weights (batch norm is folded into the convolutions). Its config is
    `task.facts["config"]`.

    trust, own: see `read_stored`, which says what is refused. tta: the views of a picture (`segkit.models.views`); None
    for the run's own. Nothing is downloaded.
    """
    stored = read_stored(run, trust, own)
    with explaining(stored):
        task = build_task(stored.config)
        task.load_state_dict(stored.weights)
    make_ready(task, stored, tta)
    return task.eval()
