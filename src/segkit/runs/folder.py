"""The run folder: who may write to it, what it contains, and how a run ends."""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  before its log levels are set below: its import sets them too
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from segkit import console
from segkit.configs.composing import find_classes, format_argument, is_weights_file, key_of, parse_budget, to_plain
from segkit.configs.errors import explain
from segkit.configs.identity import SWEEP_ID, config_hash, differences, identity, move_paths
from segkit.configs.moved import update_names
from segkit.configs.places import PARTS, check_resumable, find_first_command
from segkit.configs.settings import MAY_CHANGE, check_kinds, check_together
from segkit.files.reading import first_line, read_json, read_yaml
from segkit.files.tables import read_rows
from segkit.files.writing import DISK_FULL, write_json, write_text
from segkit.runs import checkpoints
from segkit.runs.console import log_to
from segkit.security import stored_configs

log = logging.getLogger("segkit")

GROUPS = ("dataset", "model", "loss", "optimizer", "scheduler", "trainer")  # present in every run's config
LOST_CONFIG = (
    "Restore a copy of it, or start a new run in another folder (hydra.run.dir=…); its weights are in "
    "checkpoints/best.ckpt, which predict and init_from take without it."
)


@dataclass
class Record:
    """An open run folder. `resume_from` is the checkpoint to continue from; `finished` means that nothing is left to
    do."""

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
        sweep = {"sweep": os.environ[SWEEP_ID]} if SWEEP_ID in os.environ else {}
        entries = {"status": status, "config_hash": known, **sweep, "metrics": self.metrics}
        write_json(self.folder / "results.json", entries | self.facts | more)


@contextmanager
def open_run(cfg: DictConfig, own: bool = True) -> Iterator[Record]:
    """Open and lock a config's run folder; results.json states that it is running, then how it ended.

    A finished run of the same config is left alone (`finished`), an interrupted one continues from last.ckpt, and one
    of another config is an error. Exceptions are logged to train.log with their traceback and raised again; Ctrl-C and
    termination signals end as SystemExit(130), with the folder in order. `own`: whether the config is known to be the
    user's own; any other is checked before anything is built from it.
    """
    folder = Path(cfg.run_dir).absolute()
    if cfg.resume is not None:
        check_resumable(cfg.resume, folder)
        stored_configs.check_folder(folder)
    with lock_folder(folder):
        handler = log_to(folder / "train.log")
        try:
            yield from _keep_record(cfg, folder, own)
        finally:
            log.removeHandler(handler)
            handler.close()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run folder, which is made if it is missing; RuntimeError if one is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RuntimeError(
            f"{folder}: another process is training in this run folder. Wait for it, or stop it."
        ) from None
    try:
        yield
    finally:
        (folder / ".lock").unlink(missing_ok=True)  # before it is released: nobody else can hold it yet
        lock.release()


def _keep_record(cfg: DictConfig, folder: Path, own: bool) -> Iterator[Record]:
    started = time.time()
    record = Record(folder, {})
    mine = not (folder / "results.json").exists()  # until the folder is claimed, another run's results are not touched
    try:
        record.config = resumed_config(cfg, folder) if cfg.resume is not None else _resolve(cfg, own)
        _claim(record, explicit=cfg.resume is not None)
        if record.resume_from is not None and record.resume_from.exists():
            checkpoints.read(record.folder)  # before the data
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
                log.debug("", exc_info=error)  # the traceback goes to train.log alone; the user sees the message
            reason = "interrupted" if interrupted else explain(error)
            _write_end(record, "interrupted" if interrupted else "failed", reason, time.time() - started)
        foreign = ",".join(stored_configs.find_foreign_modules(record.config))
        again = f"python -m segkit.train {format_argument('resume', folder)}"
        again += f" 'trust=[{foreign}]'" if foreign else ""
        if stored_configs.find_sending_loggers(record.config):  # a resumed run has these only if its command names them
            again += f" 'logger=[{','.join(record.config['logger'])}]'"
        kept = any((folder / path).exists() for path in ("checkpoints/last.ckpt", "stages"))
        if interrupted and folder.parent.name not in PARTS:  # the run that it is part of says so
            then = f"The run is kept; go on with:\n  {again}" if kept else "No epoch was finished, so start it again."
            console.say(f"\nInterrupted. {then}", stderr=True)
        if interrupted:
            raise SystemExit(130) from None
        if isinstance(error, OSError) and error.errno in DISK_FULL and "Free some space" not in str(error):
            then = f"go on with {again}" if kept else "start it again: no epoch was finished"
            text = f"{error.strerror} while writing the run folder {folder}. Free some space, then {then}"
            raise OSError(error.errno, text) from error
        raise


def _write_end(record: Record, status: str, error: str, seconds: float) -> None:
    try:
        record.write(status, error=error, seconds=round(seconds, 2))
    except OSError as disk:
        log.error("cannot write %s: %s", record.folder / "results.json", disk)


def _resolve(cfg: DictConfig, own: bool) -> dict[str, Any]:
    cfg = cfg.copy()
    cfg.run_dir = str(Path(cfg.run_dir).absolute())
    if not own:  # before asking its class for the names
        dataset = to_plain(cfg.dataset)
        named = dataset | ({"classes": ["auto"]} if dataset.get("classes") == "auto" else {})
        stored_configs.merge_stored_dataset(named, {}, cfg.run_dir, cfg.trust)
    find_classes(cfg)
    config = to_plain(cfg)
    if not own:
        stored_configs.check_stored(config, cfg.run_dir, cfg.trust, Path(cfg.run_dir))
        config["dataset"] = stored_configs.disable_download(config["dataset"], cfg.run_dir)
    else:
        stored_configs.check_own(config)
    return _with_absolute_paths(config)


def _with_absolute_paths(config: dict[str, Any]) -> dict[str, Any]:
    dataset = config["dataset"]
    for place, key in ((dataset, "root"), (dataset, "split_file"), (config, "init_from"), (config, "weights")):
        if place.get(key) is not None and (key != "weights" or is_weights_file(place[key])):
            place[key] = str(Path(place[key]).expanduser().absolute())  # later commands may run in another folder
    pairs = dataset.get("pairs") if dataset.get("_target_") == "segkit.datasets.folder.Folder" else None
    if isinstance(pairs, str) and not Path(str(dataset.get("root")), pairs).is_file():
        dataset["pairs"] = str(Path(pairs).expanduser().absolute())
    return config


def _claim(record: Record, explicit: bool) -> None:
    """Decide from results.json whether to start, resume, leave alone or refuse."""
    path, last = record.folder / "results.json", record.folder / "checkpoints" / "last.ckpt"
    if explicit and not last.exists() and not record.config.get("stages"):
        again = find_first_command(record.folder)
        raise FileNotFoundError(
            f"resume={record.folder}: {last} is missing, so there is nothing to go on from: a run that was stopped "
            f"before its first epoch was finished is started again{':' if again else '.'}\n  {again}".rstrip()
        )
    kept = f"resume={record.folder} then goes on from last.ckpt" if last.exists() else "the run then starts anew"
    with blaming(path, f"Remove it: {kept}."):
        results = read_json(path) if path.exists() else {}
        if results and not (isinstance(results["status"], str) and isinstance(results["metrics"], dict)):
            raise ValueError("status and metrics are not what a training writes")
    other = differences(identity(_read_config(record.folder) or record.config), identity(record.config))
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
        stored = _read_config(record.folder)  # with lr_find=true it has the rate that was found
        record.config |= {group: stored[group] for group in ("optimizer", "scheduler")}
        log.info("%s was cut short; going on from its last.ckpt", record.folder)
    else:
        for events in record.folder.glob("events.out.tfevents.*"):
            events.unlink()  # from the failed attempt: TensorBoard would draw both


@contextmanager
def blaming(path: Path, remedy: str) -> Iterator[None]:
    """Turn an error from reading a run folder's file into one that names the file and what to do."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        why = first_line(error).removeprefix(f"{path} ")
        raise ValueError(f"{path} is cut short or damaged ({why}). {remedy}") from error


def read_epochs(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, one per trained epoch."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    remedy = "Remove it, and the run goes on without the rows of its first epochs."
    with blaming(path, remedy):
        rows = [{name: float(value) for name, value in row.items() if value} for row in read_rows(path)]
        if any(not {"epoch", "seconds"} <= row.keys() for row in rows):
            raise ValueError("a row has no epoch or seconds")
    return rows


def seconds_of_epochs(folder: Path) -> list[float]:
    """How long each trained epoch took."""
    return [row.get("seconds", 0.0) for row in read_epochs(folder)]


def check_same_data(folder: Path, split: dict[str, list[str]], fingerprint: str) -> None:
    """Raise ValueError if a resumed run would continue with different pictures."""
    if not ((folder / "split.json").exists() and (folder / "environment.json").exists()):
        return
    with blaming(folder / "split.json", "Remove it, and the run goes on with the data as they are."):
        before = dict(read_json(folder / "split.json"))
    with blaming(folder / "environment.json", "Remove it, and the run goes on with the data as they are."):
        stored = read_json(folder / "environment.json")["data_fingerprint"]
    changed = [name for name in split if split[name] != before.get(name)]
    if changed or fingerprint != stored:
        what = f"the {', '.join(changed)} split has other pictures" if changed else "files have other content"
        raise ValueError(
            f"{folder}: the data changed since this run was started ({what}; split.json lists the old ones). "
            "Restore them, or start a new run."
        )


def check_unseen(folder: Path, names: Sequence[str]) -> None:
    """Raise ValueError if the run in a folder was trained on some of these pictures, so that they cannot judge it."""
    path = folder / "split.json"
    if not path.exists():
        return
    with blaming(path, "Remove it, and nothing is compared with it."):
        trained = set(read_json(path)["train"])
    if seen := [name for name in names if name in trained]:
        raise ValueError(
            f"{folder}: {len(seen)} of {len(names)} pictures were trained on ({seen[0]}, for one): the data "
            f"changed since. Restore them as split.json lists them; {format_argument('dataset.split_file', path)} does "
            "so for folders of pictures."
        )


def _read_config(folder: Path) -> dict[str, Any]:
    """Read the config of the run in a folder; empty if the run failed before writing one."""
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    with blaming(path, LOST_CONFIG):
        found = update_names(read_yaml(path))
        if not isinstance(found, dict):
            raise ValueError("it is no mapping")
        if missing := [group for group in GROUPS if not isinstance(found.get(group), dict)]:
            raise ValueError(f"it lacks {', '.join(missing)}")
    return found


def resumed_config(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """The stored config of the run in `folder`, with the length and hardware from the command line."""
    found = move_paths(
        _read_config(folder), str(_read_config(folder).get("run_dir")), str(folder)
    )  # it may have been moved
    words = [key_of(word) for word in cfg.overrides]
    found["logger"] = stored_loggers(found, cfg, words, folder)
    given = [key for key in ("groups", "split_file") if f"dataset.{key}" in words]
    stored_configs.check_stored(found, folder / "config.yaml", cfg.trust, folder, given)
    if left_out := stored_configs.limit_processes(found, words, cfg.trainer):
        log.warning(
            "%s: left out, since a stored config may not start processes or a compiler: %s. Repeat it on the "
            "command line to have it.",
            folder / "config.yaml",
            " ".join(left_out),
        )
    overrides = found.pop("overrides", [])
    stored: Any = OmegaConf.create(found)
    if any(word.partition(".")[0] == "logger" for word in words):
        named = cfg.copy()
        named.name, named.run_dir = stored.name, str(folder)
        stored.logger = to_plain(named).get("logger")
    if "OneCycleLR" in str(stored.scheduler) and any("max_epochs=" in str(word) for word in cfg.overrides):
        raise ValueError(
            "trainer.max_epochs cannot change in a resumed run with scheduler=one_cycle: its cycle is laid out for the "
            "whole length at the start. Start a new run."
        )
    for override in cfg.overrides:
        key = key_of(override)
        if key == "trainer":  # take only the hardware from another trainer file; the rest stays as it was
            for name in cfg.trainer:
                if f"trainer.{name}" in MAY_CHANGE - {"trainer.max_epochs"}:
                    OmegaConf.update(stored, f"trainer.{name}", cfg.trainer[name], force_add=True)
        elif key in MAY_CHANGE:  # others were refused when the settings were checked
            OmegaConf.update(stored, key, OmegaConf.select(cfg, key), force_add=True)
    check_kinds(stored, "train")
    check_together(to_plain(stored))
    check_budget(stored, folder)
    trained = len(seconds_of_epochs(folder))
    if stored.get("budget") is None and 0 <= (stored.trainer.get("max_epochs") or -1) < trained:
        raise ValueError(
            f"trainer.max_epochs={stored.trainer.max_epochs}, but {folder} has trained {trained} epochs already: give "
            f"more than {trained} to go on."
        )
    config = to_plain(stored)
    config["dataset"] = stored_configs.disable_download(config["dataset"], folder / "config.yaml")
    return _with_absolute_paths(config) | {"overrides": overrides, "resume": None, "trust": list(cfg.trust)}


def stored_loggers(found: Mapping[str, Any], cfg: DictConfig, words: Sequence[str], folder: Path) -> Any:
    """The stored loggers that a resumed run starts: none that sends data to a server, and none at all if the command
    names its own."""
    if any(word.partition(".")[0] == "logger" for word in words):
        return None
    left_out = stored_configs.find_sending_loggers(found)
    if left_out:
        again = ",".join(map(str, found["logger"]))
        log.warning(
            "%s: %s would send logs to a server, which a stored config may not do. Add 'logger=[%s]' to the command to "
            "continue there.",
            folder / "config.yaml",
            " and ".join(left_out),
            again,
        )
        return stored_configs.drop_keys(found["logger"], left_out)
    return found.get("logger")


def check_budget(stored: Any, folder: Path) -> None:
    """Raise ValueError unless the run can continue with the budget in `stored`, before anything is touched."""
    if stored.get("budget") is None or not (folder / "checkpoints" / "last.ckpt").exists():
        return
    total = parse_budget(stored.budget)
    state = checkpoints.read(folder)["callbacks"].get("Budget")
    if not isinstance(state, dict) or not all(isinstance(value, int | float) for value in state.values()):
        raise ValueError(
            f"budget={stored.budget}: {folder} was trained without a budget. Go on with trainer.max_epochs=…."
        )
    if total < state["total"] and total <= state["used"]:
        raise ValueError(
            f"budget={stored.budget}: {folder} has used {state['used']:.0f} s already. Give more than that to go on."
        )


def read_results(folder: Path) -> dict[str, Any]:
    """Read a run's results.json; {"status": "missing"} if there is none or it cannot be read."""
    try:
        results = read_json(folder / "results.json")
    except (OSError, ValueError):
        results = None
    known = isinstance(results, dict) and isinstance(results.get("status"), str)
    return results if known else {"status": "missing", "error": "no results.json"}
