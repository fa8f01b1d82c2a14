"""The run folder: who may write it, what stands in it, and how a run ends."""

import csv
import errno
import io
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  before its log levels are set below: its import sets them too
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from segkit import checkpoints
from segkit.configs import (
    HARDWARE,
    argument,
    budget_seconds,
    check_added,
    check_values,
    config_hash,
    differences,
    explain,
    find_classes,
    identity,
    is_file_of_weights,
    rebased,
    to_plain,
)

log = logging.getLogger("segkit")

# What may change when a run goes on: how long, and on what.
RESUME_KEYS = ("max_epochs", "max_steps", "max_time", *HARDWARE)
# Said at every run, with nothing for the person to do about it.
IDLE_WARNINGS = (
    r".*does not have many workers.*",            # on two cores loading in the training process is faster
    r".*smaller than the logging interval.*",     # segkit's values are logged by epoch
    r".*torch\.jit\.trace.*is deprecated.*",      # Lightning's log_graph
    r".*Converting a tensor to a Python boolean.*",  # the graph is drawn for one size; padding is decided by it
    r".*module\(s\) in eval mode at the start of training.*",  # what freeze names
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

    def save_config(self) -> None:
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(self.config)))

    def write(self, status: str, **more: Any) -> None:
        known = config_hash(self.config) if self.config else None
        entries = {"status": status, "config_hash": known, "metrics": self.metrics}
        write_json(self.folder / "results.json", entries | self.facts | more)


@contextmanager
def open_run(cfg: DictConfig) -> Iterator[Record]:
    """The run folder of a config, locked, with results.json telling its state: running, then how it ended.

    A finished run of the same config is left alone (`finished`), an interrupted one goes on from last.ckpt, one of
    another config is an error. Whatever is raised inside is logged with its traceback into train.log and raised on;
    Ctrl-C and polite signals end as SystemExit(130), with the folder in order.
    """
    folder = Path(cfg.run_dir).absolute()
    if cfg.resume is not None:
        _check_resumable(cfg, folder)
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
        (folder / ".lock").unlink(missing_ok=True)  # before it is released: nobody else can hold it yet
        lock.release()


def _check_resumable(cfg: DictConfig, folder: Path) -> None:
    if not (Path(cfg.resume) / "config.yaml").is_file():
        raise FileNotFoundError(
            f"resume={cfg.resume}: no run there (no config.yaml). Give a run folder, such as outputs/<name>/<job>."
        )
    if Path(cfg.resume).resolve() != folder.resolve():
        raise ValueError(f"resume={cfg.resume} goes on in that folder: leave hydra.run.dir={folder} out.")


def _guarded(cfg: DictConfig, folder: Path) -> Iterator[Record]:
    started = time.time()
    record = Record(folder, {})
    mine = not (folder / "results.json").exists()  # until the folder is claimed, another run's results are not touched
    try:
        record.config = stored_config(cfg, folder) if cfg.resume is not None else _resolved(cfg)
        _claim(record, explicit=cfg.resume is not None)
        if record.finished:
            yield record
            return
        mine = True
        record.save_config()
        write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(record.config["overrides"])))
        record.write("running")
        yield record
        record.write("finished")
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        if mine:
            if not interrupted:
                log.debug("", exc_info=error)  # the traceback is for train.log alone; the message is for the person
            reason = "interrupted" if interrupted else explain(error)
            _write_end(record, "interrupted" if interrupted else "failed", reason, time.time() - started)
        again = f"python -m segkit.train {argument('resume', folder)}"
        if interrupted and folder.parent.name != "stages":  # of a stage, the run that it belongs to says it
            kept = any((folder / path).exists() for path in ("checkpoints/last.ckpt", "stages"))
            then = f"The run is kept; go on with:\n  {again}" if kept else "No epoch was finished, so start it again."
            print(f"\nInterrupted. {then}", file=sys.stderr)
        if interrupted:
            raise SystemExit(130) from None
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            text = f"{error.strerror} while writing the run folder {folder}. Free some space, then go on with {again}"
            raise OSError(error.errno, text) from error
        raise


def _write_end(record: Record, status: str, error: str, seconds: float) -> None:
    try:
        record.write(status, error=error, seconds=round(seconds, 2))
    except OSError as disk:
        log.error("cannot write %s: %s", record.folder / "results.json", disk)


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    cfg = cfg.copy()
    cfg.run_dir = str(Path(cfg.run_dir).absolute())
    find_classes(cfg)
    config = to_plain(cfg)
    check_values(config)
    check_added(config)
    return _with_absolute_paths(config)


def _with_absolute_paths(config: dict[str, Any]) -> dict[str, Any]:
    dataset = config["dataset"]
    for place, key in ((dataset, "root"), (config, "init_from"), (config, "weights")):
        if place.get(key) is not None and (key != "weights" or is_file_of_weights(place[key])):
            place[key] = str(Path(place[key]).expanduser().absolute())  # later commands come from elsewhere
    return config


def _claim(record: Record, explicit: bool) -> None:
    """Decide from results.json whether to start, to go on, to leave alone, or to refuse."""
    path, last = record.folder / "results.json", record.folder / "checkpoints" / "last.ckpt"
    if explicit and not last.exists() and not record.config.get("stages"):
        raise FileNotFoundError(f"resume={record.folder}: {last} is missing, so there is nothing to go on from.")
    results = json.loads(path.read_text()) if path.exists() else {}
    other = differences(identity(_stored(record.folder) or record.config), identity(record.config))
    if explicit and (other or results.get("status") != "finished"):
        record.resume_from = last
    elif not results:
        return
    elif other:
        raise ValueError(
            f"{record.folder} already holds a run of another config (status {results['status']}): it differs in "
            f"{', '.join(other[:8])}{', …' if len(other) > 8 else ''}. Choose another folder with hydra.run.dir= or "
            "name=, or delete that one."
        )
    elif results["status"] == "finished":
        record.finished, record.metrics = True, results["metrics"]
        longer = "; a larger trainer.max_epochs=… or budget=… trains it for longer" if explicit else ""
        log.info("%s is finished already; left alone%s", record.folder, longer)
    elif results["status"] in ("running", "interrupted") and last.exists():
        record.resume_from = last
        stored = _stored(record.folder)  # with lr_find=true the rate that was found stands there
        record.config |= {group: stored[group] for group in ("optimizer", "scheduler")}
        log.info("%s was cut short; going on from its last.ckpt", record.folder)
    else:
        for events in record.folder.glob("events.out.tfevents.*"):
            events.unlink()  # of an attempt that starts again: TensorBoard would draw both


def seconds_of_epochs(folder: Path) -> list[float]:
    """How long each epoch took that was trained, by metrics.csv."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file)]


def check_same_data(folder: Path, split: dict[str, list[str]], fingerprint: str) -> None:
    """ValueError if a resumed run would go on with other pictures than it was started with."""
    if not ((folder / "split.json").exists() and (folder / "environment.json").exists()):
        return
    before = json.loads((folder / "split.json").read_text())
    stored = json.loads((folder / "environment.json").read_text())["data_fingerprint"]
    changed = [name for name in split if split[name] != before.get(name)]
    if changed or fingerprint != stored:
        what = f"the {', '.join(changed)} split has other pictures" if changed else "files have other content"
        raise ValueError(
            f"{folder}: the data changed since this run was started ({what}; split.json lists those it had). Bring the "
            "old ones back, or start a new run."
        )


def _stored(folder: Path) -> dict[str, Any]:
    """The config of the run in a folder; empty where it failed before it had one."""
    path = folder / "config.yaml"
    return to_plain(OmegaConf.load(path)) if path.exists() else {}  # type: ignore[arg-type]


def stored_config(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """The config of the run in `folder`, with the new length and hardware from the command line."""
    stored: Any = OmegaConf.load(folder / "config.yaml")
    overrides = [str(word) for word in stored.pop("overrides", [])]
    if "${" in OmegaConf.to_yaml(stored):
        raise ValueError(f"{folder}/config.yaml: a stored config has values, not ${{…}} expressions. It is not loaded.")
    if "OneCycleLR" in str(stored.scheduler) and any("max_epochs=" in str(word) for word in cfg.overrides):
        raise ValueError(
            "trainer.max_epochs cannot change in a resumed run with scheduler=one_cycle: its cycle is laid out for the "
            "whole length at the start. Start a new run."
        )
    for override in cfg.overrides:
        key = str(override).split("=", 1)[0].lstrip("+~")
        group, _, name = key.partition(".")
        if key in ("resume", "trust", "run_dir") or key.startswith("hydra"):
            continue
        if key == "trainer":  # the hardware of another trainer file; the rest of it is what the run was started with
            for name in RESUME_KEYS:
                if name in cfg.trainer and name != "max_epochs":
                    OmegaConf.update(stored, f"trainer.{name}", cfg.trainer[name], force_add=True)
        elif (group == "trainer" and name in RESUME_KEYS) or key in (
            "budget",
            "compile",
            "precision",
            "profile",
            "dataset.cache",
            "dataset.workers",
            "dataset.root",
        ):
            OmegaConf.update(stored, key, OmegaConf.select(cfg, key), force_add=True)
        else:
            raise ValueError(
                f"{override} cannot change in a resumed run: {folder} goes on with its own config. Only its length "
                "(trainer.max_epochs, budget), hardware (trainer=gpu, precision, compile, profile, dataset.workers, "
                "dataset.cache) and place (+dataset.root) may; for the rest start a new run."
            )
    check_values(stored)
    check_budget(stored, folder)
    trained = len(seconds_of_epochs(folder))
    if stored.get("budget") is None and 0 <= (stored.trainer.get("max_epochs") or -1) < trained:
        raise ValueError(
            f"trainer.max_epochs={stored.trainer.max_epochs}, but {folder} has trained {trained} epochs already: give "
            f"more than {trained} to go on."
        )
    config: dict[str, Any] = rebased(to_plain(stored), str(stored.run_dir), str(folder))
    return _with_absolute_paths(config) | {"overrides": overrides, "resume": None, "trust": list(cfg.trust)}


def check_budget(stored: Any, folder: Path) -> None:
    """ValueError unless a run may go on with the budget of `stored`: before anything of it is touched."""
    if stored.get("budget") is None or not (folder / "checkpoints" / "last.ckpt").exists():
        return
    total = budget_seconds(stored.budget)
    state = checkpoints.read(folder)["callbacks"].get("Budget")
    if state is None:
        raise ValueError(
            f"budget={stored.budget}: {folder} was trained without a budget. Go on with trainer.max_epochs=…."
        )
    if total < state["total"] and total <= state["used"]:
        raise ValueError(
            f"budget={stored.budget}: {folder} has used {state['used']:.0f} s already. Give more than that to go on."
        )


def log_to(path: Path) -> logging.Handler:
    """Everything that segkit says goes into this file too, until the handler is removed again."""
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
    log.setLevel(logging.DEBUG)
    log.propagate = False  # Hydra would print it a second time
    if not any(isinstance(handler, Console) for handler in log.handlers):
        log.addHandler(Console(logging.INFO))


class Console(logging.Handler):
    """Looks standard error up at every message: while a progress bar is shown, it is one that prints above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def write_json(path: Path, content: Any) -> None:
    """Written beside and moved into place: a reader sees the old file or the new one, never half of it."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """As `write_json`, for any text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_json`, for anything."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """As `write_json`, a CSV with every column that some row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
