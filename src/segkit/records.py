"""The run folder: who may write it, what stands in it, and how a run ends."""

import errno
import json
import logging
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  before its log levels are set below: its import sets them too
import torch
from filelock import FileLock, Timeout
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from segkit import __version__
from segkit.configs import config_hash, explain, to_plain

log = logging.getLogger("segkit")

PACKAGES = ("torch", "lightning", "hydra-core", "albumentations", "torchmetrics", "numpy",
            "opencv-python-headless")  # fmt: skip
# What may change when a run goes on: how long, and on what.
RESUME_KEYS = ("max_epochs", "max_steps", "max_time", "accelerator", "devices", "num_nodes", "strategy",
               "use_distributed_sampler", "benchmark", "precision")  # fmt: skip
# Said at every run, with nothing for the person to do about it.
IDLE_WARNINGS = (
    r".*does not have many workers.*",            # on two cores loading in the training process is faster
    r".*smaller than the logging interval.*",     # segkit's values are logged by epoch
    r".*torch\.jit\.trace.*is deprecated.*",      # Lightning's log_graph
    r".*Converting a tensor to a Python boolean.*",  # the graph is drawn for one size; padding is decided by it
    r".*LeafSpec.*is deprecated.*",               # Lightning's own
    r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's own
)  # fmt: skip

DISK_FULL = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)


@dataclass
class Record:
    """An open run folder. `resume_from` is the checkpoint to go on from; `finished` says that nothing is left to do."""

    folder: Path
    config: dict[str, Any]
    finished: bool = False
    resume_from: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)  # further entries of results.json

    def write(self, status: str, **more: Any) -> None:
        identity = config_hash(self.config) if self.config else None
        entries = {"status": status, "config_hash": identity, "metrics": self.metrics}
        write_json(self.folder / "results.json", entries | self.facts | more)


@contextmanager
def open_run(cfg: DictConfig) -> Iterator[Record]:
    """The run folder of a config, locked, with results.json telling its state: running, then how it ended.

    A finished run of the same config is left alone (`finished`), an interrupted one goes on from last.ckpt, one of
    another config is an error. Whatever is raised inside is logged with its traceback into train.log and raised on;
    Ctrl-C and polite signals end as SystemExit(130), with the folder in order.
    """
    folder = Path(cfg.run_dir)
    if cfg.resume is not None and not (Path(cfg.resume) / "config.yaml").is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # Hydra has just made it
        raise FileNotFoundError(
            f"resume={cfg.resume}: no run there (no config.yaml). Give a run folder, such as outputs/<name>/<job>."
        )
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RuntimeError(
            f"{folder}: another process is training in this run folder. Wait for it, or stop it."
        ) from None
    handler = log_to(folder / "train.log")
    try:
        yield from _guarded(cfg, folder)
    finally:
        log.removeHandler(handler)
        handler.close()
        lock.release()
        (folder / ".lock").unlink(missing_ok=True)


def _guarded(cfg: DictConfig, folder: Path) -> Iterator[Record]:
    started = time.time()
    record = Record(folder, {})
    mine = not (folder / "results.json").exists()  # until the folder is claimed, another run's results are not touched
    try:
        record.config = stored_config(cfg) if cfg.resume is not None else _resolved(cfg)
        _claim(record, explicit=cfg.resume is not None)
        if record.finished:
            yield record
            return
        mine = True
        OmegaConf.save(record.config, folder / "config.yaml")
        OmegaConf.save(list(cfg.overrides), folder / "overrides.yaml")
        record.write("running")
        yield record
        record.write("finished")
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        log.debug("", exc_info=error)  # the traceback is for train.log alone; the message is for the person
        if mine:
            _write_end(record, "interrupted" if interrupted else "failed", explain(error), time.time() - started)
        if interrupted:
            again = f"python -m segkit.train resume={folder}"
            print(f"\nInterrupted. The run is kept; go on with:\n  {again}", file=sys.stderr)
            raise SystemExit(130) from None
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise OSError(
                error.errno,
                f"{error.strerror} while writing the run folder {folder}. Free some space, then go on with "
                f"python -m segkit.train resume={folder}",
            ) from error
        raise


def _write_end(record: Record, status: str, error: str, seconds: float) -> None:
    try:
        record.write(status, error=error, seconds=round(seconds, 2))
    except OSError as disk:
        log.error("cannot write %s: %s", record.folder / "results.json", disk)


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    try:
        return to_plain(cfg)
    except MissingMandatoryValue as error:
        key = error.full_key or str(error).rsplit(" ", 1)[-1]
        raise ValueError(f"{key} is not set: add {key}=… to the command line.") from None


def _claim(record: Record, explicit: bool) -> None:
    """Decide from results.json whether to start, to go on, to leave alone, or to refuse."""
    path = record.folder / "results.json"
    if not path.exists():
        return
    results = json.loads(path.read_text())
    last = record.folder / "checkpoints" / "last.ckpt"
    if explicit:
        if not last.exists():
            raise FileNotFoundError(f"resume={record.folder}: {last} is missing, so there is nothing to go on from.")
        record.resume_from = last
    elif config_hash(_stored(record.folder) or record.config) != config_hash(record.config):
        raise ValueError(
            f"{record.folder} already holds a run of another config (status {results['status']}; its config.yaml tells "
            "which). Choose another folder with hydra.run.dir= or name=, or delete that one."
        )
    elif results["status"] == "finished":
        record.finished, record.metrics = True, results["metrics"]
        log.info("%s is finished already; left alone", record.folder)
    elif results["status"] in ("running", "interrupted") and last.exists():
        record.resume_from = last
        log.info("%s was cut short; going on from its last.ckpt", record.folder)
    else:
        for events in record.folder.glob("events.out.tfevents.*"):
            events.unlink()  # of an attempt that starts again: TensorBoard would draw both


def _stored(folder: Path) -> dict[str, Any]:
    """The config of the run in a folder; empty where it failed before it had one."""
    path = folder / "config.yaml"
    return to_plain(OmegaConf.load(path)) if path.exists() else {}  # type: ignore[arg-type]


def stored_config(cfg: DictConfig) -> dict[str, Any]:
    """The config of the run that `cfg.resume` names, with the new length and hardware from the command line."""
    folder = Path(cfg.resume)
    stored = OmegaConf.load(folder / "config.yaml")
    for override in cfg.overrides:
        key = str(override).split("=", 1)[0].lstrip("+~")
        group, _, name = key.partition(".")
        if key == "resume" or key.startswith("hydra"):
            continue
        if key == "trainer":  # the hardware of another trainer file; the rest of it is what the run was started with
            for name in RESUME_KEYS:
                if name in cfg.trainer and name != "max_epochs":
                    OmegaConf.update(stored, f"trainer.{name}", cfg.trainer[name], force_add=True)
        elif (group == "trainer" and name in RESUME_KEYS) or key in (
            "precision",
            "dataset.workers",
            "dataset.root",
        ):
            OmegaConf.update(stored, key, OmegaConf.select(cfg, key), force_add=True)
        else:
            raise ValueError(
                f"{override} cannot change in a resumed run: {folder} goes on with its own config. Only its length "
                "(trainer.max_epochs) and hardware (trainer=gpu, precision, dataset.workers) may; for the rest start "
                "a new run."
            )
    stored.run_dir, stored.resume = str(cfg.run_dir), None
    return to_plain(stored)  # type: ignore[arg-type]


def log_to(path: Path) -> logging.Handler:
    """Everything that segkit says goes into this file too, until the handler is removed again."""
    log.setLevel(logging.DEBUG)
    log.propagate = False
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    return handler


def log_to_console() -> None:
    """segkit's messages on standard error, once a process; of Lightning's only warnings, less the known idle ones."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IDLE_WARNINGS:
        warnings.filterwarnings("ignore", message)
    if not any(isinstance(handler, Console) for handler in log.handlers):
        log.addHandler(Console(logging.INFO))


class Console(logging.Handler):
    """Looks standard error up at every message: while a progress bar is shown, it is one that prints above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def write_json(path: Path, content: Any) -> None:
    """Written beside and moved into place: a reader sees the old file or the new one, never half of it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2, default=str) + "\n")
    part.replace(path)


def environment(seed: int, data: str, device: str) -> dict[str, Any]:
    """What a run's numbers may depend on besides its config. `data` is the data set's fingerprint."""
    return {
        "segkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "device": device,
        "seed": seed,
        "data_fingerprint": data,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_diff": _git("diff", "HEAD")[:1_000_000],
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git(*words: str) -> str:
    """What git says of the working directory; empty outside a repository or without git."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
