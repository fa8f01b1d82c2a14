"""Test pictures of a report: a run's worst and best, and those on which two runs differ most."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.datasets.module import DataModule, collate
from segkit.datasets.source import extras_of
from segkit.evaluation.other_data import evaluation_config
from segkit.evaluation.sheets import sheet_row
from segkit.pictures import overlays, sheets
from segkit.reporting.collect import decisions_of
from segkit.reporting.groups import Group, Run
from segkit.runs.build import build_data
from segkit.runs.loading import load
from segkit.security import stored_configs
from segkit.tasks.contract import Task
from segkit.tasks.deciding import set_calibration, set_gate

MOST_DIFFERENT = 3  # pictures shown for two groups side by side


@dataclass(frozen=True)
class Sheet:
    """Rows of test pictures as one picture, with a title and a text for each row."""

    title: str
    rows: tuple[str, ...]
    picture: overlays.Pixels


class TypicalRun:
    """A group's typical run, with its network and test pictures; raises what loading raises if these are gone."""

    def __init__(self, group: Group, column: str, trust: Sequence[str]) -> None:
        self.run = run = typical_run(group, column)
        self.title, self.column, self.scores = group.title, column, run.images[column]
        settings: dict[str, Any] = {
            "run": str(run.trained),
            "trust": list(trust),
            "dataset": {},
            "precision": None,
            "accelerator": "cpu",
        }
        checkpoint, self.split = run.config.get("checkpoint"), str(run.config.get("split", "test"))
        weights = run.trained / "checkpoints" / Path(str(checkpoint)).name if checkpoint else run.trained
        self.task: Task = load(str(weights), trust, tta=run.config.get("tta"))
        config = evaluation_config(self.task.facts["config"], settings)
        if run.folder != run.trained:  # the settings that evaluate scored it with
            dataset = stored_configs.merge_stored_dataset(run.config["dataset"], {}, run.folder / "results.json", trust)
            config |= {"dataset": dataset | {"cache": "off"}}
            set_gate(self.task, run.config.get("gate"))
        scored = run.results if run.folder != run.trained else run.results.get("calibration")
        set_calibration(self.task, decisions_of(scored, run.config["model"]))  # not by one that came after the scores
        self.data: DataModule = build_data(config, splits=[self.split])
        self.prepared = self.data.eval_dataloader(self.split).dataset
        if tuple(self.data.sources[self.split].names) != run.names:
            raise ValueError("its test pictures have changed since")

    @torch.inference_mode()
    def row(self, index: int, what: str) -> tuple[dict[str, Any], str]:
        """A row of `sheets.draw_sheet`, and its text."""
        note = f"{what}: {Path(self.run.names[index]).name}, {self.column} {self.scores[index]:.3f}"
        return sheet_row(self.task, collate([self.prepared[(0, index, True)]])) | {"note": note}, note

    def sheet(self, title: str, rows: Sequence[tuple[dict[str, Any], str]]) -> Sheet:
        given = extras_of(self.data.sources[self.split]).colors
        colors = overlays.class_colors(len(self.task.classes), given, self.task.classes)
        picture = sheets.draw_sheet([row for row, _ in rows], colors, self.task.classes)
        return Sheet(title, tuple(words for _, words in rows), picture)

    def draw_extremes(self) -> Sheet:
        """Its worst, median and best picture."""
        rows = [self.row(index, name) for name, index in find_extremes(self.scores)]
        return self.sheet(f"{self.title}, seed {self.run.seed} (nearest to the group's mean)", rows)


def typical_run(group: Group, column: str) -> Run:
    """The run whose mean is closest to its group's."""
    means = np.nanmean(group.values(column), axis=1)
    return group.runs[int(np.abs(means - means.mean()).argmin())]


def find_extremes(scores: NDArray[np.float64]) -> list[tuple[str, int]]:
    """The worst, the median and the best of the pictures that have a score."""
    order = np.argsort(scores, kind="stable")[: np.isfinite(scores).sum()]
    chosen = [("worst", order[0]), ("median", order[len(order) // 2]), ("best", order[-1])]
    return [(name, int(index)) for at, (name, index) in enumerate(chosen) if index not in [i for _, i in chosen[:at]]]


def draw_differences(one: TypicalRun, other: TypicalRun) -> Sheet:
    """The pictures on which two groups differ most."""
    gaps = np.abs(one.scores - other.scores)
    order = np.argsort(-gaps, kind="stable")[: min(MOST_DIFFERENT, np.isfinite(gaps).sum())]
    return one.sheet(
        f"{one.title} against {other.title}",
        [shown.row(int(index), shown.title) for index in order for shown in (one, other)],
    )
