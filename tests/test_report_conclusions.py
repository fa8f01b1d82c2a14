"""What a report concludes, and what it says about the limits of its conclusions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import segkit
from made_up import SCORES, SETTINGS, groups_in, report_of, write_grid, write_run

from segkit.metrics.names import title_of
from segkit.reporting import conclusions, figures
from segkit.reporting.analysis import Analysis
from segkit.reporting.gallery import find_extremes
from segkit.reporting.summary import describe_results


def test_what_limits_conclusions_is_said(tmp_path: Path) -> None:
    few = SCORES[:8]
    write_run(tmp_path, "a", few, loss="bce")
    write_run(tmp_path, "b", few, loss="dice")
    write_run(tmp_path, "c", few, loss="focal", names=[f"q{number}" for number in range(8)])
    found = Analysis(groups_in(tmp_path), SETTINGS)
    said = " ".join(conclusions.warnings(found, []))
    assert "One seed only (bce, dice, focal)" in said
    assert "Only 8 test pictures: intervals are wide, and correct only if these are typical" in said
    assert "It is not known which test pictures belong together, so they are taken as independent." in said
    assert "so only in the table and not compared: focal" in said
    assert len(found.comparisons) == 1


def with_clusters(folder: Path, clusters: list[str]) -> None:
    """Give per_image.csv of a run its column `group`."""
    head, *rows = (folder / "per_image.csv").read_text().splitlines()
    lines = [f"{head},group", *(f"{row},{cluster}" for row, cluster in zip(rows, clusters, strict=True))]
    (folder / "per_image.csv").write_text("\n".join(lines) + "\n")


def test_pictures_of_one_photograph_are_no_independent_ones(tmp_path: Path) -> None:
    photographs = [f"IMG_{number // 5}" for number in range(30)]
    rng = np.random.default_rng(0)
    shift = np.repeat(rng.normal(0.02, 0.05, 6), 5)  # what one loss adds, alike in a photograph
    names = [f"{photograph}-{number}.png" for number, photograph in enumerate(photographs)]
    for seed in range(3):
        for loss, added in (("bce", 0.0), ("dice", shift)):
            scores = SCORES + added + rng.normal(0, 0.01, 30)
            for root in ("told", "untold"):
                folder = write_run(tmp_path / root, f"{loss}{seed}", scores, seed=seed, loss=loss, names=names)
                if root == "told":
                    with_clusters(folder, photographs)
    told, untold = (Analysis(groups_in(tmp_path / root), SETTINGS) for root in ("told", "untold"))
    assert (len(told.sample.clusters), len(untold.sample.clusters)) == (6, 30)
    width = [one.comparisons[0].outcome.difference.high - one.means[0].low for one in (told, untold)]
    assert width[0] > width[1]
    assert told.means[0].mean == untold.means[0].mean  # the estimate is that of pictures all the same
    assert "Only 6 independent groups of test pictures" in " ".join(conclusions.warnings(told, []))
    assert "6 independent groups (photographs, patients or videos)" in report_of(tmp_path / "told").read_text()
    page = report_of(tmp_path / "untold", r"groups='(IMG_\d+)-'").read_text()
    assert "6 independent groups (photographs, patients or videos)" in page
    assert "30 test pictures, taken as independent" in report_of(tmp_path / "untold").read_text()
    with pytest.raises(
        ValueError, match=r"^groups=\(X\) finds no group in IMG_0-0.png and 29 more of 30 pictures; expected"
    ):
        report_of(tmp_path / "untold", "groups='(X)'")


def test_of_single_runs_no_setting_is_called_better(tmp_path: Path) -> None:
    write_grid(tmp_path / "one", seeds=1)
    found = Analysis(groups_in(tmp_path / "one"), SETTINGS)
    said = {one.outcome.verdict for one in found.comparisons}
    assert said == {"these runs score higher on these pictures", "not distinguishable with these data"}
    assert found.effects == {}
    words = " ".join([*conclusions.draw_conclusions(found), *conclusions.warnings(found, [])])
    assert "On these pictures its run scores higher than" in words
    assert "one seed cannot show whether another training would" in words
    assert "There are no main effects: they need two or more seeds of every combination." in words
    assert "better" not in words
    write_grid(tmp_path / "some", seeds=3)
    for folder in (tmp_path / "some").glob("unet-dice-[12]"):
        shutil.rmtree(folder)
    some = Analysis(groups_in(tmp_path / "some"), SETTINGS)
    lone = next(at for at, group in enumerate(some.paired) if len(group.runs) == 1)
    for one in some.comparisons:
        assert one.outcome.is_undecided or (lone in (one.one, one.other)) == ("these runs" in one.outcome.verdict)
    assert some.effects == {}


def test_the_gap_of_training_over_test_is_told(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES, loss="bce", train=float(SCORES.mean()) + 0.05)
    write_run(tmp_path, "b", SCORES, loss="dice", train=float(SCORES.mean()) + 0.2)
    found = conclusions.overfitting_gaps(groups_in(tmp_path), "test/iou_image")
    assert [(title, much) for title, _, _, _, much in found] == [("bce", False), ("dice", True)]
    assert found[1][3] == pytest.approx(0.2)


def test_pictures_without_a_score_are_left_out(tmp_path: Path) -> None:
    some = SCORES.copy()
    some[3] = np.nan  # nothing there to score: an empty cell
    for name, loss in (("a", "bce"), ("b", "dice")):
        folder = write_run(tmp_path, name, some, loss=loss)
        text = (folder / "per_image.csv").read_text().replace("nan", "")
        (folder / "per_image.csv").write_text(text)
    found = Analysis(groups_in(tmp_path), SETTINGS)
    assert found.sample.pictures == 29
    assert "1 of 30 test pictures lack a score in some run and are left out." in conclusions.warnings(found, [])
    assert found.means[0].mean == pytest.approx(np.nanmean(some))
    worst, _, best = find_extremes(some)
    assert (worst[1], best[1]) == (int(np.nanargmin(some)), int(np.nanargmax(some)))


def test_the_front_is_what_nothing_beats() -> None:
    assert figures.pareto_front([(1, 0.5), (2, 0.4), (3, 0.7), (3, 0.6), (0.5, 0.1)]) == [
        (0.5, 0.1),
        (1, 0.5),
        (3, 0.7),
    ]


def test_a_sweep_writes_its_report_and_shows_test_pictures(tmp_path: Path) -> None:
    words = [
        "-m",
        "loss=dice,bce",
        "seed=0,1",
        "dataset.size=32",
        "dataset.counts=[10,5,6]",
        "dataset.batch_size=5",
        "model.net.widths=[4,8]",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "callbacks.pictures=null",
        "hydra.sweep.dir=sweep",
    ]
    done = segkit(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 runs in 2 groups" in done.stdout
    told = (
        "2 settings with 2 seeds on 6 independent groups of test pictures: a difference of 0.126 between two would be"
    )
    assert f"{told} found 4 times in 5 (assuming standard deviations of 0.01 between seeds" in done.stderr
    html = (tmp_path / "sweep" / "report" / "report.html").read_text()
    assert html.count("data:image/jpeg;base64,") == 3  # of two groups, and where they differ
    assert "Only 6 test pictures" in html
    assert 'alt="Test pictures with truth, prediction and errors, one per row: worst: cracks-test-' in html
    assert "FLOPs per picture" in html
    found = json.loads(next((tmp_path / "sweep").glob("*/results.json")).read_text())
    assert found["seconds_a_picture"] > 0
    # two blocks at 32×32 and 16×16, the 2×2 way up, the decoder's block, the head; each product with its sum is 2
    products = 32**2 * 9 * (3 * 4 + 4 * 4) + 16**2 * 9 * (4 * 8 + 8 * 8) + 16**2 * 4 * 8 * 4
    assert found["flops"] == 2 * (products + 32**2 * 9 * (8 * 4 + 4 * 4) + 32**2 * 4)
    again = segkit("runs=sweep/**", "baseline={loss: bce}", "output=other", module="report", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"sweep", "other"}
    wrong = segkit("runs=nowhere", module="report", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "no run folder there" in wrong.stderr


def test_what_chose_the_epochs_is_what_is_compared_unless_it_is_said(tmp_path: Path) -> None:
    write_run(tmp_path / "same", "a", SCORES)
    found = Analysis(groups_in(tmp_path / "same"), SETTINGS)
    assert found.metric == "test/iou_image"  # of the default monitor, val/iou_image
    assert not [text for text in conclusions.warnings(found, []) if "chosen by" in text]
    write_run(tmp_path / "pooled", "a", SCORES, config={"monitor": "val/iou"})
    said = conclusions.warnings(Analysis(groups_in(tmp_path / "pooled"), SETTINGS), [])
    assert any("chosen by val/iou, but runs are compared by iou_image" in text for text in said)


def test_tables_say_what_is_pooled() -> None:
    names = ("iou", "iou/car", "iou_image", "score", "dice_ungated", "presence_f1", "loss")
    expected = [
        "iou (pooled)",
        "iou/car (pooled)",
        "iou_image (per picture)",
        "score (per picture)",
        "dice_ungated (pooled)",
        "presence_f1",
        "loss",
    ]
    assert [title_of(name) for name in names] == expected


def test_runs_chosen_by_presence_are_compared_by_presence(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = write_run(tmp_path, name, [0.5] * 4, loss=name, config={"monitor": "val/presence_f1"})
        (folder / "per_image.csv").write_text(
            "name,index,iou,label,probability\n" + "".join(f"p{n}.png,{n},0.5,1,0.{9 - n}\n" for n in range(4))
        )
    found = Analysis(groups_in(tmp_path), SETTINGS)
    assert found.column == "presence_right"
    assert not [text for text in conclusions.warnings(found, []) if "chosen by" in text]


def test_of_groups_that_score_the_same_none_is_the_best(tmp_path: Path) -> None:
    for loss in ("bce", "dice"):
        for seed in range(3):
            write_run(tmp_path, f"{loss}{seed}", [0.25] * 40, seed=seed, loss=loss)
    found = Analysis(groups_in(tmp_path), SETTINGS)
    assert conclusions.draw_conclusions(found)[0] == "bce, dice score the same on every test picture (iou_image 0.250)."
    assert np.isnan(found.comparisons[0].outcome.detectable)
    page = report_of(tmp_path).read_text()
    assert "a difference of 0.000" not in page
    assert "is not distinguishable with these data" in page


def test_presence_of_crops_is_compared_by_the_share_of_a_picture_that_is_right(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = write_run(tmp_path, name, [0.5] * 2, loss=name, config={"monitor": "val/presence_f1"})
        (folder / "per_image.csv").write_text(
            "name,index,iou,label,probability\np0.png,0,0.5,1,0.9\np1.png,1,0.5,1,0.9\n"
        )
        (folder / "presence.csv").write_text(
            "name,label,probability\np0.png,1,0.9\np0.png,0,0.8\np0.png,0,0.2\np0.png,1,0.4\np1.png,1,0.7\n"
        )
    found = Analysis(groups_in(tmp_path), SETTINGS)
    assert found.column == "presence_right"
    assert found.groups[0].runs[0].images["presence_right"].tolist() == [0.5, 1]


def test_runs_that_paint_everything_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", [0.1] * 20)
    rows = "".join(f"p{number:03d}.png,{number},0.1,10,90,0,0\n" for number in range(20))
    (folder / "per_image.csv").write_text("name,index,iou,tp,fp,fn,tn\n" + rows)
    said = conclusions.warnings(Analysis(groups_in(tmp_path), SETTINGS), [])
    assert "Some runs paint nearly every pixel of the test pictures: made_up." in said


def test_which_groups_reach_what_was_published_is_said_in_one_sentence(tmp_path: Path) -> None:
    write_run(tmp_path, "a", np.full(30, 0.7), config={"published": {"test/iou_image": 0.7}})  # in binary, a bit less
    write_run(tmp_path, "b", np.full(30, 0.6), loss="dice", config={"published": {"test/iou_image": 0.65}})
    write_run(tmp_path, "c", np.full(30, 0.5), loss="focal", config={"expected": {"test/iou_image": 0.4}})
    told = describe_results(Analysis(groups_in(tmp_path), SETTINGS))
    assert "1 of 2 groups reach the test iou_image published for them (-0.050 to +0.000); not dice." in told
