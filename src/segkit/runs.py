"""Config to objects, and checkpoint to objects: the only place that instantiates."""

import difflib
import hashlib
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import hydra
import lightning
import torch
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import LearningRateMonitor
from torch import nn

from segkit import IGNORE_INDEX, __version__
from segkit.augment import Augment
from segkit.checkpoints import NETWORKS, CheckpointFiles, check_targets, checkpoint_path, modules
from segkit.configs import explain
from segkit.datasets.cache import cores
from segkit.datasets.common import SPLITS, check_disjoint, fingerprint
from segkit.datasets.crops import five_cover
from segkit.datasets.module import DataModule, Source
from segkit.initial import initialise
from segkit.models.blocks import fold_batch_norm
from segkit.models.presence import Detection
from segkit.profiling import Compiled, Waiting
from segkit.scores import Scores
from segkit.tasks import MISSING, SegmentationTask, takes

log = logging.getLogger("segkit")

# Of a config: what whoever gets the checkpoint has no use for.
PRIVATE = ("init_from", "weights", "pretrained", "logger", "overrides", "run_dir")
LOADING = ("size", "train", "eval", "batch_size", "workers")  # of dataset.*: how pictures become batches
OPTIONAL_LOADING = ("crops", "presence_threshold", "cache")


@dataclass
class Run:
    """Everything a training needs."""

    task: SegmentationTask
    data: DataModule
    trainer: lightning.Trainer
    fingerprint: str


def make(settings: Mapping[str, Any], **more: Any) -> Any:
    """The object of a config with `_target_`; an error inside it is raised as it is, without Hydra's wrapping."""
    try:
        return hydra.utils.instantiate(dict(settings), _convert_="all", **more)
    except InstantiationException as error:
        if error.__cause__ is not None and str(error).startswith("Error in call"):
            raise error.__cause__ from None
        why = nearest(str(error)) or (f"\n{error.__cause__}" if error.__cause__ else "")
        raise ValueError(str(error).replace(", set env var HYDRA_FULL_ERROR=1 to see chained exception", "") + why
                         ) from None  # fmt: skip


def nearest(error: str) -> str:
    """What could have been meant by a target that Hydra did not find."""
    found = re.search(r"Error locating target '([\w.]+)\.(\w+)'", error)
    module = sys.modules.get(found[1]) if found else None
    near = difflib.get_close_matches(found[2], dir(module), 3) if found and module else []
    return f"\nDid you mean {', '.join(near)}?" if near else ""


def build(config: dict[str, Any], fresh: bool = True) -> Run:
    """Data, task and trainer of a resolved config; whatever cannot work together is an error here, before training.

    `fresh`: with weights from `init_from`, which a run that goes on has in its own checkpoint.
    """
    lightning.seed_everything(config["seed"], workers=True, verbose=False)
    data = build_data(config)
    if all(hasattr(source, "files") for source in data.sources.values()):
        check_disjoint(**data.sources)  # type: ignore[arg-type]
    check_masks(data.sources["train"])
    config = config | {"loss": measured(config["loss"], data)}
    task = build_task(config, data)
    check_fit(config, task)
    check_readable(data)
    data.decoded("train")  # now, and not at the cost of the first epoch or of a budget
    if data.workers and not torch.accelerator.is_available():  # or loaders and network fight for the cores
        torch.set_num_threads(max(min(torch.get_num_threads(), cores() - data.workers), 1))
    check_cover(data)
    if fresh:
        initialise(task, config)
    return Run(task, data, build_trainer(config), fingerprint_of(data))


def check_cover(data: DataModule) -> None:
    """Say it where five crops leave a part of the pictures unscored."""
    if data.eval_mode != "five":
        return
    shapes = [source.shape(index) for source in data.sources.values() for index in range(len(source))]
    beyond = [shape for shape in shapes if not five_cover(shape, data.size)]
    if beyond:
        log.warning(
            "dataset.crops=five: %d of %d pictures are more than twice as large as a crop (one is %d×%d), and what "
            "lies between the crops is neither learnt nor scored. dataset.crops=grid covers everything.",
            len(beyond), len(shapes), *beyond[0],
        )  # fmt: skip


def check_checkpoints(config: Mapping[str, Any]) -> None:
    """Without its two checkpoints a run could neither be tested nor resumed."""
    callbacks = config.get("callbacks") or {}
    if not (callbacks.get("best") and callbacks.get("last")):
        raise ValueError("callbacks lack the checkpoints best and last: keep the default ones, callbacks=[default,…].")


def check_readable(data: DataModule) -> None:
    """Read validation and test once, or a damaged file would be found when the training is over."""
    for split in ("val", "test"):
        prepared = data.eval_dataloader(split).dataset
        keys = [(0, index, True) for index in range(len(data.sources[split]))]
        on_disk = hasattr(data.sources[split], "files")
        with ThreadPoolExecutor(4 if on_disk else 1) as pool:  # drawn data may not like threads
            for _ in pool.map(prepared.__getitem__, keys):
                pass


def build_data(config: Mapping[str, Any], splits: Sequence[str] = SPLITS) -> DataModule:
    """The data module of `config["dataset"]`: each split's data set, and how its pictures become batches."""
    settings = dict(config["dataset"])
    settings.pop("epochs", None)  # trainer.max_epochs takes it
    missing = [key for key in (*LOADING, "classes") if key not in settings]
    if missing:
        raise ValueError(
            f"dataset={config['choices']['dataset']} lacks {', '.join(missing)}: begin its YAML with "
            "`defaults: [loading]` and state its `classes`."
        )
    loading = {key: settings.pop(key) for key in (*LOADING, *OPTIONAL_LOADING) if key in settings}
    sources = {split: make(settings, split=split) for split in splits}
    augment = make(config["augment"]) if config.get("augment") else None
    check_augment(augment, config)
    content = {key: value for key, value in settings.items() if key not in ("root", "download")}
    return DataModule(sources, **loading, augment=augment, settings=content, seed=config.get("seed", 0))


def check_augment(augment: Any, config: Mapping[str, Any]) -> None:
    """ValueError for a pipeline of another library as it is; a warning where what it fills in would be a class."""
    if augment is None:
        return
    if not isinstance(augment, Augment):
        raise ValueError(
            f"augment._target_={config['augment']['_target_']}: expected segkit.augment.Augment, with transforms of "
            "albumentations as its `transforms: […]`."
        )
    classes = config["dataset"]["classes"]
    if len(classes) > 1 and (names := augment.fills):
        log.warning("augment: what %s brings from outside of a picture counts as %s. For 'ignored' set its fill_mask: "
                    "255, as augment=light has it.", " and ".join(names), classes[0])  # fmt: skip


def build_task(config: Mapping[str, Any], data: DataModule | None = None) -> SegmentationTask:
    """The task of a config; with `data`, ready to train on it."""
    facts = {
        "version": __version__,
        "config": {key: value for key, value in config.items() if key not in PRIVATE},
        "classes": list(config["dataset"]["classes"]),
        "threshold": float(config["model"].get("threshold", 0.5)),
    }
    fitting: dict[str, Any] = {}
    if data is not None:
        colors = getattr(data.sources["train"], "colors", None)
        facts["colors"] = [list(map(int, color)) for color in colors] if colors else None
        schedule = dict(config["scheduler"])
        fitting = {
            "optimizer": make(config["optimizer"]),
            "scheduler": make(schedule["scheduler"]) if schedule.get("scheduler") else None,
            "interval": schedule.get("interval", "epoch"),
            "monitor": schedule.get("monitor"),
            "example_size": data.size,
        }
    # given the rest by hand: Hydra would build the config inside `facts`
    new_task = make(config["model"], _partial_=True)
    task: SegmentationTask = new_task(
        classes=facts["classes"], loss=make(config["loss"]), seed=config["seed"],
        facts=facts, **fitting,
    )  # fmt: skip
    facts["normalisation"] = task.normalisation
    return task


def measured(loss: Mapping[str, Any], data: DataModule) -> dict[str, Any]:
    """The loss' settings with "auto" replaced: `pos_weight` by background / foreground pixels of the training masks, of
    a loss of presence by clean / other training samples; `weight` by each class' inverse frequency, with mean 1 over
    the classes that occur (0 for those that do not)."""
    loss = {key: measured(value, data) if isinstance(value, Mapping) else value for key, value in loss.items()}
    auto = [key for key in ("pos_weight", "weight") if loss.get(key) == "auto"]
    if not auto:
        return loss
    of_samples = "label" in takes(hydra.utils.get_object(loss["_target_"]))
    if of_samples and data.presence is None:
        return loss | {"pos_weight": None}  # that there are no labels is said where loss and data are tried
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


def check_masks(source: Source, most: int = 64) -> None:
    """Masks of 0 and 255 are binary; with several classes they would be read as class 0 and ignored pixels."""
    if len(source.classes) == 1:
        return
    seen: set[int] = set()
    for index in range(0, len(source), max(len(source) // most, 1)):
        seen |= set(source[index]["mask"].unique().tolist())
        if len(seen - {IGNORE_INDEX}) > 1:
            return
    if seen == {0, IGNORE_INDEX}:
        raise ValueError(
            f"dataset.classes={list(source.classes)}, but the training masks show only {source.classes[0]} and 255, "
            "which is ignored. Of black and white masks name one class: dataset.classes=[object]."
        )


def check_fit(config: Mapping[str, Any], task: SegmentationTask) -> None:
    """One small batch through network and loss: an error that names the two settings that disagree, or nothing."""
    chosen, classes = config["choices"], config["dataset"]["classes"]
    height, width = task.example_input_array.shape[2:]  # type: ignore[union-attr]
    was_training = task.training
    task.eval()
    with torch.no_grad():
        out = task.detect(torch.zeros(2, 3, height, width, dtype=torch.uint8))
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
    try:
        losses = task.losses(out, batch["mask"], batch.get("label"))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"loss={chosen['loss']} and dataset={chosen['dataset']} ({len(classes)} class{'es' * (len(classes) > 1)}) "
            f"disagree: {error}"
        ) from error
    scores = Scores(task.classes, 0.5, 1.0)
    scores.update(out, batch)
    check_monitor(config, task.classes, losses.keys(), scores.compute())


def check_loss(chosen: Mapping[str, str], task: SegmentationTask, out: Detection, batch: Mapping[str, Any]) -> None:
    """The loss must be called with what the network and the data give."""
    given = {"logits": out.masks, "presence": out.presence, "mask": batch["mask"], "label": batch.get("label")}
    wanted = takes(task.loss)
    for name in wanted:
        if given[name] is None:
            other = "dataset" if name == "label" else "model"
            raise ValueError(f"{other}={chosen[other]} and loss={chosen['loss']} disagree: {MISSING[name]}.")
    if out.presence is not None and "presence" not in wanted:
        raise ValueError(
            f"model={chosen['model']} and loss={chosen['loss']} disagree: this loss does not train the part that says "
            "whether the class is there; use loss=presence (that part alone) or loss=joint."
        )


def check_monitor(config: Mapping[str, Any], classes: Sequence[str], losses: Any, scores: Mapping[str, float]) -> None:
    """`monitor` must be something that validation gives, or the run would end after its first epoch."""
    plain = sorted({name.split("/")[0] for name in scores if not name.startswith("presence_")})
    names = [*losses, *scores, *plain, *(f"{name}/{title}" for name in plain for title in classes if len(classes) > 1)]
    known = [f"val/{name}" for name in names]
    for monitor in (config["monitor"], config["scheduler"].get("monitor")):
        if monitor is not None and monitor not in known:
            near = ", ".join(difflib.get_close_matches(monitor, known)) or ", ".join(known[:12])
            raise ValueError(f"monitor={monitor}: validation gives no such metric. Did you mean: {near}?")


def build_trainer(config: Mapping[str, Any]) -> lightning.Trainer:
    """The trainer with its callbacks and loggers; null entries are left out."""
    callbacks = [make(entry) for entry in (config.get("callbacks") or {}).values() if entry]
    loggers = [make(entry) for entry in (config.get("logger") or {}).values() if entry]
    if not loggers:
        callbacks = [callback for callback in callbacks if not isinstance(callback, LearningRateMonitor)]
    if config.get("compile"):
        callbacks.append(Compiled())
    if config.get("profile"):
        callbacks.append(Waiting())
    if config["trainer"].get("accelerator") in ("gpu", "cuda") and not torch.accelerator.is_available():
        raise ValueError(
            "trainer.accelerator=gpu, but torch finds no GPU on this machine. Say trainer=auto or trainer=cpu."
        )
    trainer: lightning.Trainer = make(
        config["trainer"], callbacks=callbacks, logger=loggers, precision=precision(config),
        default_root_dir=config["run_dir"], plugins=[CheckpointFiles()],
    )  # fmt: skip
    if trainer.num_devices > 1 and config["trainer"].get("strategy", "auto") == "auto":
        raise ValueError(
            f"trainer.devices={config['trainer']['devices']}, but without a strategy: several devices take several "
            "processes. Say trainer=ddp as well."
        )
    if trainer.num_devices * trainer.num_nodes > 1 and config.get("unfreeze_at_epoch") is not None:
        raise ValueError(
            "unfreeze_at_epoch needs one process: others would not get the gradients. Leave trainer=ddp away, or train "
            "twice, the second time with init_from."
        )
    return trainer


def precision(config: Mapping[str, Any]) -> str:
    """Lightning's precision of a config. auto: bfloat16 mixed where the hardware computes in it (a GPU of compute
    capability 8, a CPU with avx512_bf16 or AMX), else float32."""
    setting = str(config["precision"])
    if setting != "auto":
        return setting
    accelerator = config.get("trainer", {}).get("accelerator", "auto")
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if _native_bfloat16("cuda" if on_gpu else "cpu") else "32-true"


def _native_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # which old releases of torch cannot tell: float32
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def fingerprint_of(data: DataModule) -> str:
    """One number for the content of a data set: of all files, whatever their names and order, or what its parts say of
    themselves."""
    sources: list[Any] = list(data.sources.values())
    if all(hasattr(source, "files") for source in sources):
        digests = fingerprint({path for source in sources for pair in source.files for path in pair})
    elif all(hasattr(source, "fingerprint") for source in sources):
        digests = [source.fingerprint() for source in sources]
    else:
        return ""
    return hashlib.blake2b("".join(sorted(digests)).encode(), digest_size=16).hexdigest()


def load(run: str, trust: Sequence[str] = (), own: bool = False) -> SegmentationTask:
    """The task of a checkpoint, with its weights, to predict with (batch norm is folded into the convolutions); its
    config is `task.facts["config"]`.

    Nothing is unpickled but tensors and plain containers, and only classes of segkit and the named model libraries
    are built; `trust` adds modules of one's own ("my_models"); `own` trusts it all, for a run just trained.
    Raises ValueError for a file that is no segkit checkpoint, or that names anything else.
    """
    path = checkpoint_path(run)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        facts, weights = checkpoint["segkit"], checkpoint["state_dict"]
        config = facts["config"]
        if missing := {"model", "loss", "dataset", "seed"} - config.keys():
            raise ValueError(f"its config lacks {', '.join(sorted(missing))}")
        # as trained with, whatever a library says of its encoder by now
        stored: dict[str, Any] = {name: list(map(float, facts["normalisation"][name])) for name in ("mean", "std")}
        stored["threshold"] = float(facts["threshold"])
    except Exception as error:
        raise ValueError(
            f"{path} is not a segkit checkpoint, or is damaged: {explain(error).splitlines()[0]}"
        ) from error
    if not own:
        check_targets([config["model"], config["loss"]], (*NETWORKS, *modules(trust)), str(path), nn.Module)
    task = build_task(config | {"model": config["model"] | stored})
    task.facts = facts
    task.load_state_dict(weights)
    fold_batch_norm(task.net)
    task.net.to(memory_format=torch.channels_last)
    return task.eval()
