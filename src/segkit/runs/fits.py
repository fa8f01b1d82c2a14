"""Check that a run's settings fit together, before any file is decoded."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from segkit.configs.composing import LAST_EPOCH, as_names, find_monitors
from segkit.console import format_count
from segkit.datasets.augment import Augment
from segkit.files.reading import first_line
from segkit.metrics.names import unknown_metric
from segkit.models.presence import Detection
from segkit.tasks.contract import Task
from segkit.tasks.deciding import check_decisions
from segkit.tasks.scores import Scores
from segkit.tasks.segmentation import MISSING, loss_inputs

log = logging.getLogger("segkit")


def check_checkpoints(config: Mapping[str, Any]) -> None:
    """Require both checkpoints: without them a run can be neither tested nor resumed."""
    callbacks = config.get("callbacks") or {}
    if not (callbacks.get("best") and callbacks.get("last")):
        raise ValueError("callbacks lack the checkpoints best and last: keep the default ones, callbacks=[default,…].")


def check_augment(augment: Any, config: Mapping[str, Any]) -> None:
    """Raise ValueError for another library's bare pipeline; warn if the pixels it fills in would count as a class."""
    if augment is None:
        return
    if not isinstance(augment, Augment):
        raise ValueError(
            f"augment._target_={config['augment']['_target_']}: expected segkit.datasets.augment.Augment, with "
            "transforms of albumentations as its `transforms: […]`."
        )
    classes = config["dataset"]["classes"]
    if len(classes) > 1 and (found := augment.fills):
        log.warning(
            "augment: what %s fills in from outside the picture counts as %s. To ignore it, set its fill_mask: 255, as "
            "augment=light does.",
            " and ".join(found),
            classes[0],
        )


def check_fit(config: Mapping[str, Any], task: Task) -> None:
    """Run one small batch through network and loss; an error names the two settings that disagree."""
    chosen, classes = config["choices"], config["dataset"]["classes"]
    height, width = task.example_input_array.shape[2:]  # type: ignore[union-attr]
    check_decisions(task.net, config.get("tta", "none"), bool(config.get("calibrate")))
    was_training = task.training
    task.eval()
    with torch.no_grad():
        out = task.detect(torch.zeros(2, 3, height, width, dtype=torch.uint8))
        if config.get("tta") == "d4" and height != width:
            check_turned(task, width, height, chosen["model"])
    task.train(was_training)
    expected, logits = (2, config["channels"], height, width), out.masks
    if logits is not None and tuple(logits.shape) != expected:
        raise ValueError(
            f"model={chosen['model']} and dataset={chosen['dataset']} disagree: logits of {height}×{width} "
            f"pictures have shape {tuple(logits.shape)}, expected {expected} for the classes {classes}. Give the "
            "network `out_channels: ${channels}` (or what it calls them) and return the input's size."
        )
    batch = {"mask": torch.zeros(2, height, width, dtype=torch.int64), "index": torch.arange(2)}
    if config["dataset"].get("presence_threshold") is not None:
        batch["label"] = torch.arange(2)
    if config["dataset"].get("crops", "none") != "none":
        batch |= {"whole": batch["mask"], "picture": batch["index"], "where": torch.zeros(2, 2, dtype=torch.int64)}
    check_loss(chosen, task, out, batch)
    check_frozen(config, loss_inputs(task.loss))
    try:
        losses = task.losses(out, batch["mask"], batch.get("label"))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"loss={chosen['loss']} and dataset={chosen['dataset']} ({format_count(len(classes), 'class', 'classes')}) "
            f"disagree: {error}"
        ) from error
    scores = Scores(task.classes, 0.5, 1.0, task.scores("val").cliou)
    scores.update(out, batch)
    found = scores.compute()
    if "logits" not in loss_inputs(task.loss):
        check_presence_monitor(config, found)
    check_monitor(config, task.classes, losses.keys(), found)


def check_turned(task: Task, height: int, width: int, model: str) -> None:
    """Require that a network which is to see pictures turned takes them so."""
    try:
        task.detect(torch.zeros(1, 3, height, width, dtype=torch.uint8))
    except RuntimeError as error:
        raise ValueError(
            f"tta=d4 turns pictures by 90°, and model={model} does not take pictures of [{height},{width}] pixels: "
            f"{first_line(error)}. Say tta=flips."
        ) from error


def check_loss(chosen: Mapping[str, str], task: Task, out: Detection, batch: Mapping[str, Any]) -> None:
    """Require that the network and the data provide what the loss needs."""
    given = {"logits": out.masks, "presence": out.presence, "mask": batch["mask"], "label": batch.get("label")}
    wanted = loss_inputs(task.loss)
    for name in wanted:
        if given[name] is None:
            other = "dataset" if name == "label" else "model"
            raise ValueError(f"{other}={chosen[other]} and loss={chosen['loss']} disagree: {MISSING[name]}.")
    if len(task.classes) > 1 and any(getattr(part, "classes", None) == "one" for part in loss_and_parts(task)):
        raise ValueError(
            f"loss={chosen['loss']} and dataset={chosen['dataset']} "
            f"({format_count(len(task.classes), 'class', 'classes')}) disagree: this loss is for one class; use "
            "loss=ce, dice or focal."
        )
    if out.presence is not None and "presence" not in wanted:
        raise ValueError(
            f"model={chosen['model']} and loss={chosen['loss']} disagree: this loss does not train the part that says "
            "whether the class is there; use loss=presence (that part alone) or loss=joint."
        )


def loss_and_parts(task: Task) -> list[torch.nn.Module]:
    return [] if task.loss is None else [*task.loss.modules()]


def check_frozen(config: Mapping[str, Any], wanted: Sequence[str]) -> None:
    """Refuse to train masks and presence together if the masks are frozen."""
    frozen = "unet" in as_names(config["model"].get("freeze")) and config.get("unfreeze_at_epoch") is None
    if frozen and {"logits", "presence"} <= {*wanted}:
        raise ValueError(
            f"freeze=unet and loss={config['choices']['loss']} disagree: the masks are not trained. Say freeze=none "
            "to train masks and presence together, or loss=presence to train that part alone."
        )


def check_presence_monitor(config: Mapping[str, Any], scores: Mapping[str, float]) -> None:
    """A presence loss trains no masks, so `monitor` should not score masks: an error if there are none, else a
    warning."""
    monitor = config["monitor"]
    if monitor == LAST_EPOCH or monitor.startswith(("val/presence_", "val/loss")):
        return
    message = (
        f"monitor={monitor} scores masks, which loss={config['choices']['loss']} does not train. Say "
        "monitor=val/presence_f1, or val/loss."
    )
    if monitor.removeprefix("val/").partition("/")[0] not in {name.partition("/")[0] for name in scores}:
        raise ValueError(message)
    log.warning("%s", message)


def check_monitor(config: Mapping[str, Any], classes: Sequence[str], losses: Any, scores: Mapping[str, float]) -> None:
    """Require a `monitor` that validation computes, or the run would fail after its first epoch."""
    plain = sorted({name.split("/")[0] for name in scores if not name.startswith("presence_")})
    given = [*losses, *scores, *plain]
    given += [f"{name}/{title}" for name in plain for title in classes if len(classes) > 1]
    known = [*dict.fromkeys(f"val/{name}" for name in given)]
    for key, monitor in find_monitors(config).items():
        if monitor not in known:
            raise unknown_metric(key, monitor, known)
