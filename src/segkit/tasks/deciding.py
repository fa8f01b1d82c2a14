"""The settings a task decides by: the threshold of its masks, what was calibrated, its views, a detector's gate."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from segkit.models.presence import find_gated, gives_masks
from segkit.models.views import Views
from segkit.tasks.segmenter import Segments


def parse_gate(gate: Any, task: Segments) -> float | str | None:
    """The setting `gate`: a probability, "sweep", "recall:<share>", or None; ValueError for anything else, and for a
    network that has nothing to gate."""
    if gate is None:
        return None
    if find_gated(task.net) is None:
        raise ValueError(
            f"gate={gate}: {type(task.net).__name__} has no decoder behind an answer to whether the class is there, so "
            "there is nothing to gate. Train a model=unet_classifier."
        )
    if isinstance(gate, str) and gate.startswith("recall:"):
        parse_recall(gate)
        return gate
    if gate == "sweep":
        return "sweep"
    if isinstance(gate, int | float) and 0 <= gate <= 1:
        return float(gate)
    raise ValueError(f"gate={gate}: expected a probability from 0 to 1, sweep, or recall:0.99.")


def set_gate(task: Segments, gate: Any) -> float:
    """Set a detector's gate for prediction, unless it is None; returns the probability above which the class counts as
    present. A classifier without masks takes one too."""
    chosen = gate if not gives_masks(task.net) and isinstance(gate, int | float) else parse_gate(gate, task)
    if isinstance(chosen, str):
        chosen = find_stored_gate(chosen, task)
    if (gated := find_gated(task.net)) is not None:
        gated.gate = gated.gate if chosen is None else chosen
        chosen = gated.gate
    return 0.5 if chosen is None else float(chosen)


def find_stored_gate(gate: str, task: Segments) -> float:
    """The gate that keeps at least the share in "recall:<share>" of validation's positive samples, as `segkit
    calibrate` has stored it."""
    stored = (task.facts.get("calibration") or {}).get("gates") or []
    if gate == "sweep" or not stored:
        raise ValueError(
            f"gate={gate}: this run does not know which gate that is. segkit calibrate run=… measures on validation "
            "pictures what gates keep, and stores it for gate=recall:0.99. Or give a probability; segkit evaluate "
            "gate=sweep shows what each costs."
        )
    share = parse_recall(gate)
    return max(float(value) for kept, value in stored if kept >= share)


def parse_recall(gate: str) -> float:
    """The share in "recall:<share>"."""
    try:
        share = float(gate.removeprefix("recall:"))
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise ValueError(f"gate={gate}: expected a share above 0 and at most 1 after recall:, such as recall:0.99.")
    return share


def set_threshold(task: Segments, threshold: float | None) -> None:
    """Set the threshold of a run of one class, for masks and scores; None keeps its own."""
    if threshold is None:
        return
    if len(task.classes) > 1:
        raise ValueError(
            f"threshold={threshold}: this run tells {len(task.classes)} classes apart, and a pixel is of the most "
            "probable one. Leave threshold out; it is for runs of one class."
        )
    if not gives_masks(task.net):
        raise ValueError(f"threshold={threshold}: this run gives no masks. Of presence say gate={threshold}.")
    task.decide_by(threshold, task.smallest)


def set_calibration(task: Segments, found: Mapping[str, Any]) -> None:
    """Decide by the `threshold`, `temperature` and `smallest` object that `segkit calibrate` has chosen."""
    task.temperature = float(found.get("temperature", 1.0))
    task.decide_by(float(found.get("threshold", task.threshold)), float(found.get("smallest", 0.0)))


def set_views(task: Segments, how: str) -> None:
    """Let a task's network look at each picture in several views (`segkit.models.views`); "none" for one."""
    check_decisions(task.net, how)
    if how != "none":
        task.net = Views(task.net, how)


def check_decisions(net: nn.Module, tta: str, calibrate: bool = False) -> None:
    """ValueError for several views with a network whose output is not masks alone, and for one without masks that is to
    be calibrated."""
    if tta != "none" and (find_gated(net) is not None or not gives_masks(net)):
        raise ValueError(
            f"tta={tta} averages masks, and {type(net).__name__} says whether the class is there: leave tta out."
        )
    if calibrate and not gives_masks(net):
        raise ValueError(f"calibrate=true calibrates masks, and {type(net).__name__} gives none: leave it out.")
