"""The whole check of a data set, as a library call: what it looks like, what is wrong with it, and what to do.

    sources = {split: Folder("my_data", split) for split in ("train", "val", "test")}
    checkup = check_dataset(DataModule(sources, size=256))
    print(*checkup.summary(), sep="\\n")

`segkit.reporting.data_page` writes its page, tables and card.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from segkit.datasets.checking.checks import check_data, check_masks, describe_groups_setting, describe_uniform_masks
from segkit.datasets.checking.hints import Hint, find_hints
from segkit.datasets.checking.problems import Problem, Severity, find_problems, from_findings, worst_first
from segkit.datasets.checking.summary import suggest_setting, summarise
from segkit.datasets.checking.survey import Survey, survey_all, survey_sample
from segkit.datasets.common import describe_shared_groups
from segkit.datasets.findings import DataError, Finding, Findings, Kind, format_findings, report_faults
from segkit.datasets.module import DataModule
from segkit.datasets.samples import window_corners
from segkit.datasets.source import Source, extras_of
from segkit.geometry.resizing import scaled

log = logging.getLogger("segkit")

UNLEARNABLE = ("masks from which nothing can be learnt",) * 2
UNIFORM = Kind("split whose masks are all alike", "splits whose masks are all alike", "Its scores will say nothing.")
SPREAD = Kind("group in two splits", "groups in two splits", "Split by group: dataset.groups, or other folders.")
USELESS = ("setting that makes no groups", "settings that make no groups")
SMALL = ("picture that does not fit dataset.crops", "pictures that do not fit dataset.crops")


@dataclass(frozen=True)
class Checkup:
    """What `check_dataset` has found. problems: the worst first. hints: proposals. data: what was checked."""

    name: str
    data: DataModule
    survey: Survey
    problems: tuple[Problem, ...]
    hints: tuple[Hint, ...]

    def of(self, severity: Severity) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == severity]

    def summary(self, pretrained: bool = False, planned: bool = False) -> list[str]:
        """Six lines at most. pretrained: whether the network that is to be trained has pretrained weights. planned:
        whether a plan has chosen it, and what it sees."""
        lines = summarise(self.name, self.survey, self.problems, self.hints)
        return lines + suggest_setting(self.survey, self.problems, self.hints, pretrained, planned)

    def log_warnings(self) -> None:
        if warnings := self.of("warning"):
            log.warning("%s", format_findings(problem.finding for problem in warnings))

    def error(self) -> DataError | None:
        """The error for what training would refuse."""
        errors = self.of("error")
        return DataError(*dict.fromkeys(problem.finding for problem in errors)) if errors else None


def check_dataset(
    data: DataModule,
    found: Findings | None = None,
    name: str = "data set",
    progress: bool = False,
    repair: bool = False,
) -> Checkup:
    """Read all pictures and masks once, on several threads, and judge them.

    found: what was found while `data` was built, such as missing masks. progress: show a bar on a terminal. Nothing is
    raised for files that are faulty: they are problems of severity error. repair: judge the files as they would be in a
    repaired copy.
    """
    found = found or Findings()
    survey = survey_all(data, found, progress, repair)
    splits = {str(path): split for split, source in data.sources.items() for path in chain(*extras_of(source).files)}
    problems = [*from_findings(found.faults, "error", splits), *from_findings(found.remarks, "warning", splits)]
    problems += judge_whole(data, survey)
    problems += find_problems(survey)
    hints = tuple(find_hints(data, survey, problems))
    return Checkup(name, data, survey, worst_first(problems), hints)


def check_files(data: DataModule, how: Literal["fast", "full", "off"]) -> Checkup | None:
    """Check files before training, and report their faults. fast: those of validation and test, and of training as far
    as they go into the cache; full: as `check_dataset` does, whose warnings are logged and whose result is returned."""
    if how == "off":
        return None
    check_data(data)
    if how == "fast":
        return None
    checkup = check_dataset(data, progress=True)
    report_faults(*(problem.finding for problem in checkup.of("error")))
    checkup.log_warnings()
    return checkup


def check_sample(data: DataModule) -> Checkup:
    """What some pictures of each split show (see `survey_sample`), for the summary before a training."""
    survey = survey_sample(data)
    return Checkup("", data, survey, worst_first(find_problems(survey)), tuple(find_hints(data, survey)))


def judge_whole(data: DataModule, survey: Survey) -> Iterator[Problem]:
    """What stands against a training on these pictures: nothing to learn, splits that tell nothing, windows that do not
    fit."""
    seen = {(record.split, record.name): {*record.pixels[:-1].nonzero()[0].tolist()} for record in survey.records}
    ignored = {(record.split, record.name): {255} for record in survey.records if record.pixels[-1]}

    for split, source in data.sources.items():

        def read(_: Source, index: int, split: str = split, names: list[str] = source.names) -> set[int]:
            key = split, names[index]
            return seen.get(key, set()) | ignored.get(key, set())

        if not survey.of(split):
            continue
        try:
            if split == "train":
                check_masks(source, read=read)
            elif kind := describe_uniform_masks(source, read):
                fact = f"the {split} masks are all {kind}: their scores say nothing about {source.classes[0]}."
                yield Problem("warning", split, "", "", Finding(UNIFORM, fact))
        except ValueError as error:
            yield _refused(error, UNLEARNABLE, split)
    if shared := describe_shared_groups(data.sources):
        yield Problem("warning", "", "", "", Finding(SPREAD, f"{shared}."))
    if useless := describe_groups_setting(data):
        fact, _, remedy = useless.partition(". ")
        yield Problem("warning", "", "", "", Finding(Kind(*USELESS, remedy), f"{fact}."))
    for record in survey.records:
        mode = data.train_mode if record.split == "train" else data.eval_mode
        if mode in ("five", "grid"):
            try:
                window_corners(scaled(record.size, data.scale), data.size, mode, record.name)
            except ValueError as error:
                yield _refused(error, SMALL, record.split, record.image)


def _refused(error: ValueError, kind: tuple[str, ...], split: str, file: str = "") -> Problem:
    fact, _, remedy = str(error).partition(". ")
    return Problem("error", split, file, "", Finding(Kind(kind[0], kind[1], remedy), f"{fact.removesuffix('.')}."))


def name_data(choice: str, data: DataModule) -> str:
    """What to call a data set: the choice on the command line, or the name of one's own folder."""
    root = root_of(data)
    return root.resolve().name if choice == "folder" and root is not None else choice


def root_of(data: DataModule) -> Path | None:
    """The folder that a data set is read from, if it is one."""
    roots = {str(root) for source in data.sources.values() if (root := getattr(source, "root", None)) is not None}
    files = [pair.image for source in data.sources.values() for pair in extras_of(source).files]
    return Path(min(roots)) if len(roots) == 1 else (files[0].parent if files else None)
