"""Metrics with their intervals, folders written by evaluate, and the format that Claims Reloaded reads."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up import SCORES, SETTINGS, groups_in, report_of, write_run
from scipy import stats

from segkit.configs.composing import compose
from segkit.evaluate import evaluate
from segkit.metrics.presence import PresenceMetrics
from segkit.metrics.ratios import RATIOS
from segkit.reporting import collect, intervals
from segkit.reporting.analysis import Analysis
from segkit.reporting.gallery import TypicalRun
from segkit.reporting.groups import Group, Run
from segkit.reporting.statistics import Clusters

PICTURES = 12
CLUSTERS = [f"IMG_{number // 3}" for number in range(PICTURES)]


def write_detector(root: Path, name: str, seed: int) -> Path:
    """A run with pixel counts, and with presence for three crops of each picture."""
    rng = np.random.default_rng(seed)
    folder = write_run(root, name, SCORES[:PICTURES], seed=seed, names=[f"p{at}.png" for at in range(PICTURES)])
    tp, fp, fn, tn = rng.integers(5, 40, (4, PICTURES))
    iou = tp / (tp + fp + fn)
    label = np.random.default_rng(0).integers(0, 2, 3 * PICTURES)
    probability = (0.3 * label + rng.uniform(0.1, 0.7, 3 * PICTURES)).round(2)  # with equal ones
    metrics = PresenceMetrics()
    metrics.update(torch.from_numpy(probability).logit(), torch.from_numpy(label), torch.arange(len(label)))
    own = {f"presence_{key}": value for key, value in metrics.compute().items()}
    own |= {
        "iou": tp.sum() / (tp + fp + fn).sum(),
        "dice": 2 * tp.sum() / (2 * tp + fp + fn).sum(),
        "precision": tp.sum() / (tp + fp).sum(),
        "recall": 0.123,
        "iou_image": iou.mean(),
    }  # recall is wrong on purpose
    results = json.loads((folder / "results.json").read_text())
    results["metrics"] = {f"test/{key}": float(value) for key, value in own.items()}
    (folder / "results.json").write_text(json.dumps(results))
    with (folder / "per_image.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "group", "index", "tp", "fp", "fn", "tn", "iou"])
        rows.writerows(
            zip([f"p{at}.png" for at in range(PICTURES)], CLUSTERS, range(PICTURES), tp, fp, fn, tn, iou, strict=True)
        )
    with (folder / "presence.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "group", "index", "crop", "label", "probability"])
        rows.writerows(
            [f"p{at // 3}.png", CLUSTERS[at // 3], at // 3, at % 3, label[at], probability[at]]
            for at in range(3 * PICTURES)
        )
    return folder


def test_every_metric_is_computed_again_without_each_photograph(tmp_path: Path) -> None:
    for seed in range(3):
        write_detector(tmp_path, f"a{seed}", seed)
    (group,) = groups_in(tmp_path)
    clusters = Clusters(CLUSTERS)
    found = intervals.compute_intervals([group], clusters)
    pixels, samples = {"iou", "dice", "precision", "iou_image"}, {"f1", "f1/0", "ap", "auroc"}
    assert pixels | {f"presence_{name}" for name in samples} <= {*found}
    assert "recall" not in found  # it does not come out as results.json has it
    for name in ("presence_f1", "presence_ap", "presence_auroc", "presence_precision/0"):
        left_out = np.zeros(4)
        for run in group.runs:
            for place, cluster in enumerate(dict.fromkeys(CLUSTERS)):
                kept = np.array([CLUSTERS[int(at)] != cluster for at in run.presence["picture"]])
                metrics = PresenceMetrics()
                probability, label = (torch.from_numpy(run.presence[key][kept]) for key in ("probability", "label"))
                metrics.update(probability.logit(), label.long(), torch.arange(len(label)))
                left_out[place] += metrics.compute()[name.removeprefix("presence_")] / 3
        seeds = np.array(group.metric(f"test/{name}"))
        parts = ((left_out - seeds.mean()) ** 2).sum(), seeds.var(ddof=1) / 3
        half = np.hypot(*(stats.t.ppf(0.975, (3, 2)) * np.sqrt(parts)))
        (one,) = found[name]
        assert one.seeds == pytest.approx(seeds, abs=1e-6)
        assert one.interval.low == pytest.approx(max(seeds.mean() - half, 0), abs=1e-5)
        assert one.interval.high == pytest.approx(min(seeds.mean() + half, 1), abs=1e-5)


def test_pooled_iou_by_hand() -> None:
    counts = np.array([[10.0, 0.0, 4.0], [5.0, 5.0, 2.0], [5.0, 15.0, 2.0], [0.0, 0.0, 0.0]])
    whole, left_out = intervals.reduce_sums(counts, RATIOS["iou"], Clusters("aab"))
    assert whole == pytest.approx(14 / 48)
    assert left_out == pytest.approx([4 / 8, 10 / 40])
    nothing = np.zeros((4, 3))  # nothing there, nothing claimed
    assert intervals.reduce_sums(nothing, RATIOS["iou"], Clusters(range(3)))[0] == 1
    claimed = np.array([[0.0], [3.0], [0.0], [5.0]])
    assert intervals.reduce_sums(claimed, RATIOS["recall"], Clusters("a"))[0] == 0


def test_intervals_are_on_the_page_and_in_files(tmp_path: Path) -> None:
    for seed in range(2):
        write_detector(tmp_path, f"a{seed}", seed)
    page = report_of(tmp_path)
    rows = list(csv.DictReader((page.parent / "intervals.csv").open()))
    (one,) = [row for row in rows if row["metric"] == "presence_f1"]
    assert one["independent groups"] == "4"
    assert float(one["low"]) <= float(one["mean"]) <= float(one["high"])
    text = (page.parent / "intervals.md").read_text()
    assert text.startswith("| group | seeds | ")
    cell = f"{float(one['mean']):.3f} ± {float(one['sd']):.3f} ({float(one['low']):.3f} … {float(one['high']):.3f})"
    assert cell in text
    assert cell in page.read_text()


def write_evaluation(root: Path, name: str, scored: Path, split: str = "test", **more: object) -> Path:
    """What evaluate writes for a run, on pictures of another folder."""
    folder = root / name
    folder.mkdir(parents=True)
    scores = SCORES[:10] / 2
    dataset = {"root": "/other", "classes": ["object"]}
    entry = {
        "status": "finished",
        "run": str(scored),
        "split": split,
        "dataset": dataset,
        "precision": "32-true",
        "metrics": {f"{split}/iou_image": float(scores.mean())},
    }
    (folder / "results.json").write_text(json.dumps(entry | more))
    rows = [f"q{number}.png,g{number // 2},{number},{score}" for number, score in enumerate(scores)]
    (folder / "per_image.csv").write_text("\n".join(["name,group,index,iou", *rows]) + "\n")
    return folder


def test_what_evaluate_wrote_is_grouped_by_the_runs_it_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("unet", "segnet"):
        for seed in range(2):
            run = write_run(tmp_path / "runs", f"{model}{seed}", SCORES, seed=seed, model=model)
            write_evaluation(tmp_path / "evaluate", f"{model}{seed}", run)
    groups = groups_in(tmp_path / "evaluate")
    seeds = {group.title: [run.seed for run in group.runs] for group in groups}
    assert seeds == {"segnet": [0, 1], "unet": [0, 1]}
    assert groups[0].config["dataset"]["root"] == "/other"
    assert groups[0].metric("test/iou_image") == pytest.approx([SCORES[:10].mean() / 2] * 2)
    assert groups[0].cost("params") == 1000  # of the run
    assert len(Analysis(groups, SETTINGS).sample.clusters) == 5
    assert "4 runs in 2 groups" in report_of(tmp_path / "evaluate").read_text()
    both = groups_in(tmp_path)
    assert len(both) == 4  # on the pictures of each root


def test_another_gate_or_split_is_another_group_and_a_lost_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "runs", "a", SCORES, config={"model": {"_target_": "unet", "net": {"gate": 0.5}}})
    for name, options in (("own", {"gate": 0.5}), ("open", {"gate": 0.0}), ("val", {"gate": 0.5, "split": "val"})):
        write_evaluation(tmp_path / "evaluate", name, run, **options)
    settings = {frozenset(group.settings.items()) for group in groups_in(tmp_path / "evaluate")}
    assert len(settings) == 3
    write_evaluation(tmp_path / "evaluate", "lost", tmp_path / "gone")
    text = report_of(tmp_path / "evaluate").read_text()
    assert "/lost</code>: its files cannot be read (ValueError: evaluate wrote it, but the run that it scored," in text


def test_a_run_scored_with_other_settings_is_no_further_seed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", "a", SCORES)
    (run / "checkpoints").mkdir()
    ways: tuple[dict[str, Any], ...] = (
        {"threshold": 0.5},
        {"threshold": 0.3},
        {"precision": "bf16-mixed"},
        {"run": str(run / "checkpoints/best.ckpt")},
        {"run": str(run / "checkpoints/last.ckpt")},
    )
    for number, way in enumerate(ways):
        write_evaluation(tmp_path / "evaluate", str(number), run, **way)
    assert sorted(len(group.runs) for group in groups_in(tmp_path)) == [1, 1, 1, 1, 2]
    rows = (tmp_path / "evaluate/3/per_image.csv").read_text()
    (tmp_path / "evaluate/3/per_image.csv").write_text(rows.replace("q0.png", "another.png"))
    text = report_of(tmp_path).read_text()
    assert "<h1>5 runs in 5 groups</h1>" in text
    assert "/3</code>: it scores the same run as" in text


def test_titles_name_what_an_evaluation_did_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "runs", "a", SCORES)
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | {"calibration": {"threshold": 0.4, "temperature": 1.2}}))
    ways: tuple[dict[str, Any], ...] = (
        {"threshold": 0.4, "temperature": 1.2, "smallest": 0.0, "tta": "none"},  # as the run was scored itself
        {"threshold": 0.170895, "temperature": 1.2, "smallest": 0.0, "tta": "none"},
        {"threshold": 0.4, "temperature": 1.2, "smallest": 0.0, "tta": "d4"},
    )
    for number, way in enumerate(ways):
        write_evaluation(tmp_path / "evaluate", str(number), run, **way)
    assert {group.title for group in groups_in(tmp_path / "evaluate")} == {"made_up", "threshold 0.170895", "d4"}


def test_an_evaluation_leads_to_no_run_that_nobody_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "private", "a", SCORES)
    theirs = write_evaluation(tmp_path / "downloads", "theirs", run)
    found = collect.read(theirs, collect.named_folders(str(tmp_path / "downloads/**")))
    assert isinstance(found, collect.Problem)
    assert f"the run that it scored, {run}, is neither below the current folder nor" in found.reason
    assert "Change to a folder above that run, or name the run in runs= too" in found.reason
    (tmp_path / "downloads/way").symlink_to(run)
    write_evaluation(tmp_path / "downloads", "linked", tmp_path / "downloads/way")
    assert groups_in(tmp_path / "downloads") == []
    both = collect.named_folders([str(tmp_path / "downloads/**"), str(run)])
    assert isinstance(collect.read(theirs, both), Run)
    monkeypatch.chdir(tmp_path)
    assert len(groups_in(tmp_path / "downloads")[0].runs) == 2


@pytest.mark.filterwarnings("ignore")
def test_the_gallery_shows_what_evaluate_scored(tmp_path: Path, tiny_run: Path) -> None:
    cfg = compose(f"run={tiny_run}", "threshold=0.3", "split=val", "accelerator=cpu", "pictures=0", config="evaluate")
    cfg.output_dir = str(tmp_path / "scored")
    evaluate(cfg)
    found = collect.read(tmp_path / "scored", [tiny_run])
    assert isinstance(found, Run), found
    shown = TypicalRun(Group([found], title="unet"), "iou", [])
    assert shown.task.threshold == 0.3
    assert len(shown.draw_extremes().rows) == 3


def test_claims_are_in_the_form_that_claims_reloaded_reads(tmp_path: Path) -> None:
    """One row per case, its name in case_id, and one column alg_… per group."""
    for loss, shift in (("bce", 0.0), ("dice", 0.05)):
        for seed in range(2):
            write_run(tmp_path, f"{loss}{seed}", SCORES + shift * (seed + 1), seed=seed, loss=loss)
    page = report_of(tmp_path)
    rows = list(csv.DictReader((page.parent / "claims.csv").open()))
    assert list(rows[0]) == ["case_id", "alg_01_bce", "alg_02_dice"]
    assert rows[3]["case_id"] == "p003.png"
    assert float(rows[3]["alg_02_dice"]) == pytest.approx(SCORES[3] + 0.075)
    assert len(rows) == 30
    (said,) = [row for row in csv.DictReader((page.parent / "comparisons.csv").open()) if row["what"] == "difference"]
    assert float(said["P(false claim)"]) < 0.05
    assert float(said["smallest difference"]) > 0


def test_a_difference_that_is_the_same_in_few_pictures_is_said_to_be(tmp_path: Path) -> None:
    for loss, shift in (("bce", 0.0), ("dice", 0.05)):
        for seed in range(3):
            noise = np.random.default_rng([seed, len(loss)]).normal(0, 0.01, 12)
            write_run(tmp_path, f"{loss}{seed}", SCORES[:12] + shift + noise, seed=seed, loss=loss)
    text = report_of(tmp_path).read_text()
    assert "The same in all 12 groups of test pictures, as far as the spread of runs can tell: dice less bce." in text
    assert "A rarer kind of picture, up to 22% of all, may be missing from so few" in text
    assert "It is not distinguishable with these data from bce" in text
