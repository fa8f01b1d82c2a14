"""The trainings in a report: the table, how steady they were, the curves, and the four answers on top."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browse, needs_chromium
from made_up import SCORES, SETTINGS, groups_in, report_of, write_grid, write_run

from segkit.reporting import summary, training
from segkit.reporting.analysis import Analysis


def analysis(root: Path) -> Analysis:
    return Analysis(groups_in(root), SETTINGS)


def write_curve(folder: Path, scores: Any, name: str = "val/iou_image") -> None:
    rows = "".join(f"{epoch},0.5,{score}\n" for epoch, score in enumerate(scores, 1))
    (folder / "metrics.csv").write_text(f"epoch,train/loss,{name}\n{rows}")


def test_steadiness_is_the_spread_of_the_last_quarter_and_of_the_seeds(tmp_path: Path) -> None:
    for seed, swing in ((0, 0.0), (1, 0.1)):
        folder = write_run(tmp_path, f"a{seed}", SCORES, seed=seed)
        write_curve(folder, [0.1] * 9 + [0.5, 0.5 + swing, 0.5])
    (row,) = training.describe_trainings(analysis(tmp_path))
    assert row.epochs_sd == pytest.approx((0 + np.std([0.5, 0.6, 0.5], ddof=1)) / 2)
    assert row.seeds_sd == 0
    assert row.verdict == "moves from epoch to epoch"
    assert row.scores[2] == f"{SCORES.mean():.3f} ± 0.000"


def test_of_a_short_training_with_one_seed_steadiness_is_not_known(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES)
    (row,) = training.describe_trainings(analysis(tmp_path))
    assert (row.epochs_sd, row.seeds_sd, row.verdict) == (None, None, "unknown")


def test_what_was_published_stands_beside_what_was_reached(tmp_path: Path) -> None:
    published = {"train/iou_image": 0.9, "test/iou_image": 0.6, "train/loss": 194000}
    stated = {"published": published, "departs": ["no flips", "<b>wider</b>"]}
    write_run(tmp_path, "a", SCORES, config=stated)
    write_run(tmp_path, "b", SCORES - 0.3, loss="dice", config={"published": {"test/iou_image": 0.6}})
    report = analysis(tmp_path)
    rows = training.describe_trainings(report)
    assert rows[0].published == ("0.900", "", "0.600")
    assert rows[0].published_losses == ("194000", "")
    assert rows[0].departs == ("no flips", "<b>wider</b>")
    said = dict(summary.answer_questions(report, [], notes=False))
    assert said["What was expected"] == ["Published test scores: iou_image 0.600."]
    gains = f"({SCORES.mean() - 0.9:+.3f} to {SCORES.mean() - 0.6:+.3f})"
    assert said["What came out"][1].endswith(f"{gains}; not dice.")
    done = said["What was done"]
    assert done[0].startswith("2 runs in 2 groups: bce, dice, 1 seed each, on folder, with unet")
    assert done[1] == "Differences from the source are listed below, under Training: bce."
    page = report_of(tmp_path).read_text()
    assert "published loss train" in page
    head, _, first, second = (tmp_path / "report" / "trainings.md").read_text().splitlines()
    assert head.endswith("| test iou_image | published train | published val | published test |")
    assert first.endswith(f"| {SCORES.mean():.3f} | 0.900 |  | 0.600 |")
    assert second.startswith("| dice |")
    assert "no flips; &lt;b&gt;wider&lt;/b&gt;." in page


def test_four_questions_are_answered_on_top(tmp_path: Path) -> None:
    write_grid(tmp_path)
    said = dict(summary.answer_questions(analysis(tmp_path), [], notes=True))
    assert said["What was done"][0].startswith(
        "12 runs in 4 groups: model (segnet, unet) × loss (bce, dice), 3 seeds each, on folder"
    )
    assert said["What was expected"] == ["Hypotheses are in the notes below."]
    assert said["What came out"][0].startswith("iou_image from 0.691 (0.668 … 0.713; ")
    best = next(text for text in said["How the approaches differ"] if text.startswith("Highest for each model"))
    assert re.fullmatch(
        r"Highest for each model: segnet: segnet / dice \(0\.\d+\); unet: unet / dice \(0\.\d+\)\.", best
    )


def test_groups_that_score_the_same_have_no_range(tmp_path: Path) -> None:
    for loss in ("bce", "dice"):
        write_run(tmp_path, loss, [0.25] * 12, loss=loss)
    (came,) = dict(summary.answer_questions(analysis(tmp_path), [], notes=False))["What came out"]
    assert came.startswith("iou_image 0.250 (")


def test_curves_are_means_over_the_seeds(tmp_path: Path) -> None:
    for seed, scores in ((0, [0.1, 0.2, 0.3]), (1, [0.3, 0.4])):
        write_curve(write_run(tmp_path, f"a{seed}", SCORES, seed=seed), scores)
    loss, score = training.collect_curves(groups_in(tmp_path))
    assert (loss["title"], score["title"]) == ("loss", "iou_image")
    (line,) = score["lines"]
    assert score["epochs"] == [1, 2]  # what both have
    assert line["values"] == pytest.approx([0.2, 0.3])
    assert line["split"] == "val"


def test_sums_and_dice_share_a_chart_with_a_logarithmic_axis(tmp_path: Path) -> None:
    for loss, first in (("bce", 200_000), ("dice", 0.5)):
        folder = write_run(tmp_path, loss, SCORES, loss=loss)
        (folder / "metrics.csv").write_text(f"epoch,train/loss,val/iou_image\n1,{first},0.1\n2,{first / 2},0.2\n")
    assert [chart["log"] for chart in training.collect_curves(groups_in(tmp_path))] == [True, False]
    page = report_of(tmp_path).read_text()
    assert page.count('"log": true') == 1


@needs_chromium
def test_a_browser_draws_all_groups_in_one_chart_and_hides_a_line_on_a_click(tmp_path: Path) -> None:
    write_grid(tmp_path / "runs")
    page = report_of(tmp_path / "runs").read_text()
    assert not re.search(r'(src|href)="(https?:)?//', page)
    script = """<script>window.addEventListener("load", () => {
      const legend = document.querySelectorAll("#curves-1 .u-series");
      const before = document.querySelectorAll("#curves-1 .u-off").length;
      legend[1].querySelector("th").click();
      document.title = JSON.stringify({canvases: document.querySelectorAll("#overlay canvas").length,
        lines: legend.length - 1, hidden: document.querySelectorAll("#curves-1 .u-off").length - before,
        still: getComputedStyle(document.querySelector("#overlay .still")).display});
    });</script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", script))
    seen = browse(tmp_path / "page.html")
    assert seen == {"canvases": 2, "lines": 8, "hidden": 1, "still": "none"}
