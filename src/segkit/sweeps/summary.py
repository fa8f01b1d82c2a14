"""The summary at a sweep's end: how each of its jobs ended."""

import math
import re
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from segkit import console
from segkit.configs.composing import find_test_metric
from segkit.configs.errors import Failure
from segkit.configs.identity import HARDWARE, NOT_IDENTITY, SWEEP_ID
from segkit.files.reading import read_json
from segkit.files.writing import write_json


class Summary(Callback):
    """Prints a table of a sweep's jobs; if one failed, was killed or never began, the command ends with exit code 1.

    Jobs do not raise in a sweep (see `configs.command`), so that the others continue. How each ended is read from
    files, because launchers run jobs in processes of their own: each job leaves a note of where its run is and how it
    ended, a file named by its number in `.sweep/<id>` of the sweep's folder. Its results.json has the id, too.
    """

    def __init__(self) -> None:
        self.id = ""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.report:
            announce_smallest_difference(config)
        self.id = uuid.uuid4().hex[:12]
        roots = {str(Path(root).absolute()) for root in swept_values(config, "dataset.root")}
        given = [str(word).lstrip("+~").partition("=")[0] for word in config.hydra.overrides.task]
        left_out = {"name", "ablation"} | (set() if len(roots) > 1 else {"dataset.root"})  # not in folders' names
        left_out |= {key for key in given if is_without_effect(key) and not swept_values(config, key)}
        words = [
            f"hydra.job.config.override_dirname.exclude_keys=[{','.join(sorted(left_out))}]",
            f"++hydra.job.env_set.{SWEEP_ID}='{self.id}'",
        ]
        same_names = len({Path(root).name for root in roots}) < len(roots)
        if same_names and not any(word.startswith("hydra.sweep.subdir=") for word in config.hydra.overrides.hydra):
            words.append("hydra.sweep.subdir='${segkit.job_name:${hydra:job.override_dirname},true}'")
        with read_write(config.hydra.overrides):
            config.hydra.overrides.hydra.extend(words)  # every job is composed with these

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._note(config, {})

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        done = job_return.status is JobStatus.COMPLETED  # otherwise reading the value raises
        value = job_return.return_value if done else Failure("it ended with an error")
        failure = str(value) if isinstance(value, Failure) else None
        self._note(config, {"ended": True, "gave_result": value is not None and failure is None, "failure": failure})

    def _note(self, config: DictConfig, outcome: dict[str, Any]) -> None:
        from segkit.security.stored_configs import find_foreign_modules

        sweep = OmegaConf.select(config, f"hydra.job.env_set.{SWEEP_ID}")
        if sweep is None:  # a single run
            return
        words = (str(word).lstrip("+").partition("=") for word in config.hydra.overrides.task)
        note = {
            "folder": str(config.hydra.runtime.output_dir),
            "settings": {key: value for key, _, value in words},
            "metric": find_test_metric(str(config.monitor)),
            "modules": find_foreign_modules(OmegaConf.to_container(config.model, resolve=False)),  # the user's own
        }
        folder = notes_folder(config, sweep)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{config.hydra.job.num}.json", note | outcome)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from rich.table import Table

        jobs = read_jobs(notes_folder(config, self.id), count_jobs(config))
        metric = next((job.metric for job in jobs if job.metric), "test/iou")
        scored = [job.entry.get("metrics", {}) for job in jobs]
        more = [name for name in ("test/presence_f1", "test/iou") if name != metric]
        names = [metric, *(name for name in more if any(name in metrics for metrics in scored))]
        columns = differing_settings({job.folder: job.settings for job in jobs if job.settings})
        alone = f"/{jobs[0].folder.name}" if len(jobs) == 1 else ""  # its name is too long for a column
        console.say(f"{config.hydra.sweep.dir}{alone}", stderr=True)
        table = Table(*columns, "status", *names, "seconds")
        for column in table.columns[: len(columns)]:
            column.overflow = "fold"
        for job, metrics in zip(jobs, scored, strict=True):
            found = [metrics.get(name) for name in names]
            seconds = job.entry.get("train_seconds")
            settings = [values.get(job.folder, "") for values in columns.values()]
            table.add_row(
                *settings,
                job.status,
                *("" if score is None else f"{score:.4f}" for score in found),
                "" if seconds is None else f"{seconds:.0f}",
            )
        console.print_table(table, stderr=True)
        if config.report and sum(job.status == "finished" for job in jobs) > 1:
            mine = [job.folder for job in jobs if job.status != "refused"]
            write_report(mine, sorted({module for job in jobs for module in job.modules}))
        bad = [job for job in jobs if job.status != "finished"]
        if bad:
            report_failures(bad, len(jobs))
            sys.exit(1)


@dataclass
class Job:
    """A job of a sweep, from its note and its run folder. status: as in results.json, or "refused" if the folder holds
    another run, "killed" if the job began and did not end, "missing" if it never began."""

    folder: Path
    status: str
    entry: dict[str, Any] = field(default_factory=dict)  # results.json, if it is this job's
    settings: dict[str, str] = field(default_factory=dict)  # the job's overrides
    metric: str = ""
    modules: Sequence[str] = ()


def notes_folder(config: DictConfig, sweep: str) -> Path:
    """The folder with the notes of a sweep's jobs."""
    return Path(config.hydra.sweep.dir).absolute() / ".sweep" / sweep


def read_jobs(notes: Path, count: int | None) -> list[Job]:
    """Every job of a sweep, in the order of their numbers; the notes are then deleted. count: how many there should
    be, if known."""
    numbers = sorted(int(path.stem) for path in notes.glob("*.json"))
    jobs = [read_job(read_json(notes / f"{number}.json")) for number in numbers]
    if count is not None and len(jobs) < count:
        absent = [number for number in range(count) if number not in numbers]
        jobs += [Job(notes.parents[1] / f"job {number}", "missing", {"error": "it never began"}) for number in absent]
    shutil.rmtree(notes, ignore_errors=True)
    with suppress(OSError):  # not empty while another sweep is running
        notes.parent.rmdir()
    return jobs


def read_job(note: dict[str, Any]) -> Job:
    """A job from its note."""
    from segkit.runs.folder import read_results

    folder = Path(note["folder"])
    job = Job(folder, "", {}, note["settings"], note["metric"], note["modules"])
    entry = read_results(folder)
    if not note.get("ended"):
        job.status, job.entry = "killed", {"error": "its process died before the job ended, or is still running"}
    elif entry["status"] == "missing" and note["failure"] is not None:  # it failed before there was a run folder
        job.status, job.entry = "failed", {"error": note["failure"]}
    elif entry["status"] == "finished" and not note["gave_result"]:
        job.status, job.entry = "refused", {"error": "the folder holds another run, see above"}
    else:
        job.status, job.entry = entry["status"], entry
    return job


def report_failures(bad: Sequence[Job], count: int) -> None:
    console.say(f"\n{len(bad)} of {count} jobs did not finish:", stderr=True)
    for job in bad:
        reason = str(job.entry.get("error", "")).splitlines() or [""]
        console.say(f"  {job.folder}: {job.status}: {reason[0]}", stderr=True)
    if any(job.status != "refused" and (job.folder / "train.log").exists() for job in bad):
        console.say("Their train.log has the traceback. The same command again runs only these.", stderr=True)
    if any(job.status == "refused" for job in bad):
        console.say("Refused jobs need a folder of their own: add name=… to the command.", stderr=True)


def count_jobs(config: DictConfig) -> int | None:
    """How many jobs a grid has; None for a sweeper that chooses its own."""
    if not str(config.hydra.sweeper._target_).endswith("basic_sweeper.BasicSweeper"):
        return None
    words = sweep_overrides(config)
    return math.prod(len(list(word.sweep_string_iterator())) for word in words if word.is_sweep_override())


def is_without_effect(key: str) -> bool:
    """Whether no run's result depends on a setting, so that folders are not named by it."""
    group, _, name = key.partition(".")
    hardware = (group == "trainer" and name in HARDWARE) or key in ("dataset.workers", "dataset.cache")
    return (group in NOT_IDENTITY or hardware) and re.fullmatch(r"[\w.]+", key) is not None


def swept_values(config: DictConfig, key: str) -> list[str]:
    """The values that a sweep gives a setting, by its command line or the ablation's file; empty if it is not swept."""
    found = [word for word in sweep_overrides(config) if word.key_or_group == key]
    return list(found[0].sweep_string_iterator()) if found and found[0].is_sweep_override() else []


def sweep_overrides(config: DictConfig) -> list[Override]:
    """The overrides of a sweep: its command line, and the `params` of an ablation's file that it does not replace."""
    words = [str(word) for word in config.hydra.overrides.task]
    parsed = OverridesParser.create().parse_overrides(words)
    given = {word.key_or_group for word in parsed}
    params = (config.hydra.sweeper.get("params") or {}).items()
    more = [f"{name}={value}" for name, value in params if str(name) not in given]
    return [*parsed, *OverridesParser.create().parse_overrides(more)]


def differing_settings(settings: Mapping[Path, Mapping[str, str]]) -> dict[str, dict[Path, str]]:
    """The settings in which jobs differ, the seed last, each with its value in every job. Keys are shortened to their
    last part if that is unique, paths to their end."""
    keys = sorted({key for words in settings.values() for key in words}, key=lambda key: (key == "seed", key))
    found = {key: {folder: words.get(key, "") for folder, words in settings.items()} for key in keys}
    found = {key: values for key, values in found.items() if len(set(values.values())) > 1}
    lasts = [key.rpartition(".")[2] for key in found]
    return {
        last if lasts.count(last) == 1 else key: shorten_paths(values) if key == "dataset.root" else values
        for (key, values), last in zip(found.items(), lasts, strict=True)
    }


def shorten_paths(values: Mapping[Path, str]) -> dict[Path, str]:
    """Paths by as many of their last parts as it takes to tell them apart."""
    several = len(set(values.values()))
    for count in range(1, 50):
        short = {folder: "/".join(Path(path).parts[-count:]) for folder, path in values.items()}
        if len(set(short.values())) == several:
            return short
    return dict(values)


def announce_smallest_difference(config: DictConfig) -> None:
    """Print, before a grid, the smallest difference that it could show; nothing if that cannot be computed."""
    from segkit.reporting import foresight

    params = (config.hydra.sweeper.get("params") or {}).keys()
    words = [str(word).lstrip("+").partition("=")[0] for word in config.hydra.overrides.task]
    keys = {*map(str, params), *words} - {"seed"}
    settings = math.prod(max(len(set(swept_values(config, key))), 1) for key in keys)
    dataset = {str(key): value for key, value in OmegaConf.to_container(config.dataset, resolve=False).items()}  # type: ignore[union-attr]
    try:
        seeds = len(set(swept_values(config, "seed"))) or 1
        line = foresight.describe_grid(seeds, settings, dataset, Path(config.hydra.sweep.dir))
    except (OSError, ValueError, TypeError, re.error):  # the job that meets a wrong value reports it
        return
    if line:
        console.say(line, stderr=True)


def write_report(folders: list[Path], trust: list[str]) -> None:
    """Write the report of a sweep's runs beside them; a failure is only printed. `trust`: the modules whose models this
    command has trained itself."""
    from segkit.configs.composing import compose
    from segkit.configs.errors import explain
    from segkit.configs.settings import check_settings
    from segkit.reporting import write
    from segkit.reporting.collect import find

    try:
        cfg = compose("runs=[]", config="report")
        cfg.runs, cfg.trust = [str(folder) for folder in folders if folder.exists()], trust
        settings = check_settings(cfg, "report")
        write.write_report(find(settings["runs"]), settings)
    except Exception as error:
        console.say(f"no report: {explain(error)}", stderr=True)
