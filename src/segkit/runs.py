"""Config to objects, and checkpoint to objects: the only place that instantiates."""

import hashlib
import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
from hydra.errors import InstantiationException
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary
from torch import nn

from segkit import __version__
from segkit.datasets.common import check_disjoint, fingerprint
from segkit.datasets.module import IGNORE, DataModule, Source
from segkit.tasks import SegmentationTask

log = logging.getLogger("segkit")

SPLITS = ("train", "val", "test")
LOADING = ("size", "train", "eval", "batch_size", "workers")  # of dataset.*: how pictures become batches
# What a checkpoint of unknown origin may have built: a class below one of these, and of the expected kind.
TRUSTED = (
    "segkit.",
    "torch.nn.",
    "torchvision.models.",
    "torchvision.transforms.",
    "segmentation_models_pytorch.",
    "timm.",
)


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
        raise ValueError(str(error)) from None


def build(config: dict[str, Any]) -> Run:
    """Data, task and trainer of a resolved config; whatever cannot work together is an error here, before training."""
    lightning.seed_everything(config["seed"], workers=True, verbose=False)
    data = build_data(config)
    on_disk = all(hasattr(source, "files") for source in data.sources.values())
    if on_disk:
        check_disjoint(**data.sources)  # type: ignore[arg-type]
    check_masks(data.sources["train"])
    task = build_task(config, data)
    check_fit(config, task)
    return Run(task, data, build_trainer(config), fingerprint_of(data) if on_disk else "")


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
    loading = {key: settings.pop(key) for key in LOADING}
    sources = {split: make(settings, split=split) for split in splits}
    augment = make(config["augment"]) if config.get("augment") else None
    return DataModule(sources, **loading, augment=augment, seed=config.get("seed", 0))


def build_task(config: Mapping[str, Any], data: DataModule | None = None) -> SegmentationTask:
    """The task of a config. With `data`, ready to train: "auto" weights of the loss are measured on it."""
    facts = {
        "version": __version__,
        "config": dict(config),
        "classes": list(config["dataset"]["classes"]),
        "normalisation": {"mean": list(config["model"]["mean"]), "std": list(config["model"]["std"])},
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
    new_task = make(
        config["model"], _partial_=True
    )  # given the rest by hand: Hydra would build the config inside `facts`
    task: SegmentationTask = new_task(
        classes=facts["classes"], loss=make(measured(config["loss"], data)), seed=config["seed"],
        facts=facts, **fitting,
    )  # fmt: skip
    return task


def measured(loss: Mapping[str, Any], data: DataModule | None) -> dict[str, Any]:
    """The loss' settings with "auto" replaced: `pos_weight` by background / foreground pixels of the training masks,
    `weight` by each class' inverse frequency, with mean 1 over the classes that occur (0 for those that do not)."""
    loss = dict(loss)
    auto = [key for key in ("pos_weight", "weight") if loss.get(key) == "auto"]
    if not auto:
        return loss
    if data is None:  # to evaluate: the weight does not matter to the predictions, and the masks may be elsewhere
        return loss | dict.fromkeys(auto)
    shares = data.class_shares()
    if "pos_weight" in auto:
        if shares[1] == 0:
            raise ValueError("loss.pos_weight=auto: no training mask has a foreground pixel, so there is no ratio.")
        loss["pos_weight"] = float(shares[0] / shares[1])
    if "weight" in auto:
        inverse = torch.where(shares > 0, 1 / shares, 0.0)
        loss["weight"] = (inverse * (shares > 0).sum() / inverse.sum()).tolist()
    log.info("measured on the training masks: %s", {key: loss[key] for key in auto})
    return loss


def check_masks(source: Source, most: int = 32) -> None:
    """With several classes, the first masks must show more than one of them: values 0 and 255 are a binary mask, which
    would be read as class 0 and ignored pixels."""
    if len(source.classes) == 1:
        return
    seen: set[int] = set()
    for index in range(min(len(source), most)):
        seen |= set(source[index]["mask"].unique().tolist()) - {IGNORE}
        if len(seen) > 1:
            return
    shown = ", ".join(source.classes[number] for number in sorted(seen)) or "none of them"
    raise ValueError(
        f"dataset.classes={list(source.classes)}: of these the first {min(len(source), most)} training masks show "
        f"{shown} (and 255, which is ignored). Of black and white masks name one class: dataset.classes=[object]."
    )


def check_fit(config: Mapping[str, Any], task: SegmentationTask) -> None:
    """One small batch through network and loss: an error that names the two settings that disagree, or nothing."""
    chosen, classes = config["choices"], config["dataset"]["classes"]
    side = 64
    was_training = task.training
    task.eval()
    with torch.no_grad():
        logits = task(torch.zeros(2, 3, side, side, dtype=torch.uint8))
    task.train(was_training)
    expected = (2, config["channels"], side, side)
    if tuple(logits.shape) != expected:
        raise ValueError(
            f"model={chosen['model']} and dataset={chosen['dataset']} disagree: logits for two {side}×{side} pictures "
            f"have shape {tuple(logits.shape)}, expected {expected} for the classes {classes}. Give the network "
            "`out_channels: ${channels}` (or what it calls them) and return the input's size."
        )
    mask = torch.zeros(2, side, side, dtype=torch.int64)
    try:
        if task.loss is not None:
            task.loss(logits.float(), mask)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"loss={chosen['loss']} and dataset={chosen['dataset']} ({len(classes)} class{'es' * (len(classes) > 1)}) "
            f"disagree: {error}"
        ) from error


class CheckpointFiles(TorchCheckpointIO):
    """best.ckpt holds what prediction needs; what only a resumed training needs stays in last.ckpt."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if Path(path).name == "best.ckpt":
            kept = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", "segkit")
            checkpoint = {key: checkpoint[key] for key in kept}
        super().save_checkpoint(checkpoint, path, storage_options)


def build_trainer(config: Mapping[str, Any]) -> lightning.Trainer:
    """The trainer with its callbacks and loggers; null entries are left out."""
    callbacks = [make(entry) for entry in (config["callbacks"] or {}).values() if entry]
    loggers = [make(entry) for entry in (config["logger"] or {}).values() if entry]
    return make(  # type: ignore[no-any-return]
        config["trainer"], callbacks=callbacks, logger=loggers, precision=precision(config),
        default_root_dir=config["run_dir"], plugins=[CheckpointFiles()],
    )  # fmt: skip


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
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def summary(task: SegmentationTask) -> str:
    """Layers with shapes and parameters, and the floating-point operations of one picture."""
    return str(ModelSummary(task, max_depth=4))


def fingerprint_of(data: DataModule) -> str:
    """One number for the content of all files of a data set, whatever their names and order."""
    files = {path for source in data.sources.values() for pair in source.files for path in pair}  # type: ignore[attr-defined]
    return hashlib.blake2b("".join(sorted(fingerprint(files))).encode(), digest_size=16).hexdigest()


def checkpoint_path(run: str) -> Path:
    """The checkpoint that `run` names: a .ckpt file, or a run folder's best.ckpt."""
    path = Path(run)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise FileNotFoundError(
            f"run={run}: no checkpoint there. Give a run folder (outputs/<name>/<job>, with checkpoints/best.ckpt in "
            "it) or a .ckpt file."
        )
    return path


def load(run: str, trust: Sequence[str] = (), config: dict[str, Any] | None = None) -> SegmentationTask:
    """The task of a checkpoint, with its weights, ready to predict; its config is `task.facts["config"]`.

    Nothing is unpickled but tensors and plain containers, and only classes of segkit and the named model libraries
    are built; `trust` adds modules of one's own ("my_models"). `config` is used in place of the checkpoint's.
    Raises ValueError for a file that is no segkit checkpoint, or that names anything else.
    """
    path = checkpoint_path(run)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        facts, weights = checkpoint["segkit"], checkpoint["state_dict"]
        config = config or facts["config"]
    except Exception as error:
        raise ValueError(f"{path} is not a segkit checkpoint, or is damaged: {str(error).splitlines()[0]}") from error
    if config is facts["config"]:
        check_targets(config["model"], trust, str(path))
        check_targets(config["loss"], trust, str(path))
    task = build_task(config)
    task.facts = facts
    task.load_state_dict(weights)
    return task.eval()


def check_targets(node: Any, trust: Sequence[str], where: str, kind: type = nn.Module) -> None:
    """Refuse a config that would have anything built but a trusted class of the given kind, at any depth."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_target(node["_target_"], trust, where, kind)
        for value in node.values():
            check_targets(value, trust, where, kind)
    elif isinstance(node, list | tuple):
        for value in node:
            check_targets(value, trust, where, kind)
    elif isinstance(node, str) and "${" in node:
        raise ValueError(f"{where}: a checkpoint's config has values, not expressions; got {node!r}. It is not loaded.")


def _check_target(name: Any, trust: Sequence[str], where: str, kind: type) -> None:
    if not isinstance(name, str) or not name.startswith((*TRUSTED, *(f"{module}." for module in trust))):
        own = str(name).split(".", 1)[0]
        raise ValueError(
            f"{where} asks for {name!r}, which is neither part of segkit nor of a model library it knows. If it is "
            f"your own code, say trust=[{own}]; if the file is from someone else, do not use it."
        )
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where} asks for {name!r}, which cannot be imported: {error}") from error
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ValueError(f"{where} asks for {name!r}, which is not a {kind.__name__}. It is not loaded.")
