"""Config to objects: data, task and trainer."""

import hashlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import hydra
import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor

from segkit import __version__
from segkit.configs.settings import check_precision
from segkit.datasets.checking.checks import check_meaning
from segkit.datasets.checking.checkup import check_files, check_sample, name_data
from segkit.datasets.common import SPLITS, fingerprint
from segkit.datasets.findings import gather_findings
from segkit.datasets.module import DataModule
from segkit.datasets.source import extras_of
from segkit.hardware import cores, precision
from segkit.runs.checkpoint_io import CheckpointFiles
from segkit.runs.fits import check_augment, check_fit
from segkit.runs.initial import initialise
from segkit.runs.making import make
from segkit.tasks.contract import Task
from segkit.tasks.segmentation import loss_inputs

log = logging.getLogger("segkit")


# Config entries that are of no use to whoever receives the checkpoint.
PRIVATE = ("init_from", "weights", "pretrained", "logger", "overrides", "run_dir")
LOADING = ("size", "train", "eval", "batch_size", "workers")  # keys of dataset.*: how pictures become batches
OPTIONAL_LOADING = ("crops", "presence_threshold", "cache", "passes", "scale", "foreground")
AUTO_WEIGHTS = ("pos_weight", "weight")  # loss settings whose "auto" is counted in the training masks


@dataclass
class Run:
    """Everything a training needs."""

    task: Task
    data: DataModule
    trainer: lightning.Trainer
    fingerprint: str
    summary: tuple[str, ...] = ()  # of the data, six lines at most
    scored_train: int | None = None  # training pictures that are scored at the end; None: all


def build(
    config: dict[str, Any], fresh: bool = True, follow_links: bool = False, callbacks: Sequence[Callback] = ()
) -> Run:
    """Build data, task and trainer from a resolved config; settings that do not work together are errors here.

    `fresh`: load the weights of `init_from`; a resumed run has them in its own checkpoint. `follow_links`: see
    `build_data`. `callbacks`: added to those of the config.
    """
    lightning.seed_everything(config["seed"], workers=True, verbose=False)
    with gather_findings():  # report all faulty files in one list
        data, how = build_data(config, follow_links=follow_links), config.get("check", "fast")
        if how != "off":
            check_meaning(data)
        counts_masks = has_auto_weights(config["loss"])
        checked = check_files(data, how) if counts_masks else None
        config = config | {"loss": resolve_auto_weights(config["loss"], data)}
        task = build_task(config, data)
        check_fit(config, task)
        if not counts_masks:  # report wrong settings before decoding anything
            checked = check_files(data, how)
    if data.workers and not torch.accelerator.is_available():  # else loaders and network compete for the cores
        torch.set_num_threads(max(min(torch.get_num_threads(), cores() - data.workers), 1))
    if fresh:
        initialise(task, config)
    summary: list[str] = []
    if how != "off":
        named = replace(checked or check_sample(data), name=name_data(config["choices"]["dataset"], data))
        summary = named.summary(config.get("weights") not in (None, "none"), config.get("plan") is not None)
    return Run(
        task, data, build_trainer(config, callbacks), fingerprint_of(data), tuple(summary), config.get("scored_train")
    )


def build_data(config: Mapping[str, Any], splits: Sequence[str] = SPLITS, follow_links: bool = False) -> DataModule:
    """The data module of `config["dataset"]`: each split's data set, and how its pictures become batches.

    follow_links: whether a data set may follow links out of its root. Only for a root named on the user's own command
    line: a config from elsewhere could otherwise read any of their files.
    """
    settings = dict(config["dataset"])
    settings.pop("epochs", None)  # trainer.max_epochs takes it
    missing = [key for key in (*LOADING, "classes") if key not in settings]
    if missing:
        raise ValueError(
            f"dataset={config['choices']['dataset']} lacks {', '.join(missing)}: begin its YAML with "
            "`defaults: [loading]` and state its `classes`."
        )
    loading = {key: settings.pop(key) for key in (*LOADING, *OPTIONAL_LOADING) if key in settings}
    settings.pop("follow_links", None)  # never taken from a config
    more = {"follow_links": True} if follow_links and can_follow_links(settings["_target_"]) else {}
    with gather_findings():
        sources = {split: make(settings, split=split, **more) for split in splits}
    for text in dict.fromkeys(extras_of(source).reading for source in sources.values()):
        if text:
            log.info("%s", text)
    augment = make(config["augment"]) if config.get("augment") else None
    check_augment(augment, config)
    content = {key: value for key, value in settings.items() if key not in ("root", "download")}
    return DataModule(sources, **loading, augment=augment, settings=content, seed=config.get("seed", 0))


def can_follow_links(target: str) -> bool:
    """Whether a data set's class has this setting."""
    return "follow_links" in inspect.signature(hydra.utils.get_class(target)).parameters


def build_task(config: Mapping[str, Any], data: DataModule | None = None) -> Task:
    """Build the task of a config; with `data`, ready to train on it."""
    facts = {
        "version": __version__,
        "config": {key: value for key, value in config.items() if key not in PRIVATE},
        "classes": list(config["dataset"]["classes"]),
        "threshold": float(config["model"].get("threshold", 0.5)),
    }
    fitting: dict[str, Any] = {}
    if data is not None:
        colors = extras_of(data.sources["train"]).colors
        facts["colors"] = [list(map(int, color)) for color in colors] if colors else None
        facts["pictures"] = data.describe_sizes()
        schedule = dict(config["scheduler"])
        fitting = {
            "optimizer": make(config["optimizer"]),
            "scheduler": make(schedule["scheduler"]) if schedule.get("scheduler") else None,
            "interval": schedule.get("interval", "epoch"),
            "monitor": schedule.get("monitor"),
            "example_size": data.size,
        }
    # `facts` must not pass through Hydra, which would instantiate the config inside
    new_task = make(config["model"], _partial_=True)
    task: Task = new_task(
        classes=facts["classes"],
        loss=make(config["loss"]),
        seed=config["seed"],
        facts=facts,
        **fitting,
    )
    facts["normalisation"] = task.normalisation
    return task


def has_auto_weights(loss: Mapping[str, Any]) -> bool:
    """Whether a loss has settings that are counted in the training masks (see `resolve_auto_weights`)."""
    return any(
        has_auto_weights(value) if isinstance(value, Mapping) else key in AUTO_WEIGHTS and value == "auto"
        for key, value in loss.items()
    )


def resolve_auto_weights(loss: Mapping[str, Any], data: DataModule) -> dict[str, Any]:
    """Replace "auto" in the loss settings: `pos_weight` by background / foreground pixels of the training masks, or by
    clean / other training samples for a presence loss; `weight` by each class's inverse frequency, with mean 1 over the
    classes that occur (0 for the others)."""
    loss = {
        key: resolve_auto_weights(value, data) if isinstance(value, Mapping) else value for key, value in loss.items()
    }
    auto = [key for key in AUTO_WEIGHTS if loss.get(key) == "auto"]
    if not auto:
        return loss
    of_samples = "label" in loss_inputs(hydra.utils.get_object(loss["_target_"]))
    if of_samples and data.presence is None:
        return loss | {"pos_weight": None}  # `check_fit` reports the missing labels
    shares, what = (data.label_shares(), "sample") if of_samples else (data.class_shares(), "mask")
    if "pos_weight" in auto:
        if shares[1] == 0 or (of_samples and shares[0] == 0):
            lack = "are all of one kind" if of_samples else "have no foreground pixel"
            raise ValueError(f"loss.pos_weight=auto: the training {what}s {lack}, so there is no ratio.")
        loss["pos_weight"] = float(shares[0] / shares[1])
    if "weight" in auto:
        inverse = torch.where(shares > 0, 1 / shares, 0.0)
        loss["weight"] = (inverse * (shares > 0).sum() / inverse.sum()).tolist()
    log.info("measured on the training %ss: %s", what, {key: loss[key] for key in auto})
    return loss


def build_trainer(config: Mapping[str, Any], more: Sequence[Callback] = ()) -> lightning.Trainer:
    """Build the trainer with its loggers and callbacks, and `more` callbacks; null entries are skipped."""
    callbacks = [*(make(entry) for entry in (config.get("callbacks") or {}).values() if entry), *more]
    loggers = [make(entry) for entry in (config.get("logger") or {}).values() if entry]
    if not loggers:
        callbacks = [callback for callback in callbacks if not isinstance(callback, LearningRateMonitor)]
    if config["trainer"].get("accelerator") in ("gpu", "cuda") and not torch.accelerator.is_available():
        raise ValueError(
            "trainer.accelerator=gpu, but torch finds no GPU on this machine. Say trainer=auto or trainer=cpu."
        )
    check_precision(
        config["precision"], config["trainer"].get("accelerator") == "cpu" or not torch.accelerator.is_available()
    )
    trainer: lightning.Trainer = make(
        config["trainer"],
        callbacks=callbacks,
        logger=loggers,
        precision=precision(config),
        default_root_dir=config["run_dir"],
        plugins=[CheckpointFiles()],
    )
    if trainer.num_devices > 1 and config["trainer"].get("strategy", "auto") == "auto":
        raise ValueError(
            f"trainer.devices={config['trainer']['devices']}, but no strategy: several devices need several "
            "processes. Add trainer=ddp."
        )
    if trainer.num_devices * trainer.num_nodes > 1 and config.get("unfreeze_at_epoch") is not None:
        raise ValueError(
            "unfreeze_at_epoch needs one process: others would not get the gradients. Leave out trainer=ddp, or train "
            "twice, the second time with init_from."
        )
    return trainer


def fingerprint_of(data: DataModule) -> str:
    """A hash of a data set's content: of all files, whatever their names and order, or of its splits' own
    fingerprints."""
    extras = [extras_of(source) for source in data.sources.values()]
    if all(one.files for one in extras):
        digests = fingerprint({path for one in extras for path in one.every_file})
    elif not all(digests := [one.fingerprint() for one in extras]):
        return ""
    return hashlib.blake2b("".join(sorted(digests)).encode(), digest_size=16).hexdigest()
