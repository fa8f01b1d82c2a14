"""Reports of made-up and of real runs: groups, tables, verdicts, the page in a browser."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up import SCORES, SETTINGS, groups_in, report_of, write_grid, write_run

from segkit.files.tables import escape_cell
from segkit.reporting import conclusions, statistics, table
from segkit.reporting.analysis import Analysis
from segkit.reporting.page import read_notes
from segkit.reporting.words import describe_settings, escape_markdown, format_stated, metric_names


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("grid")
    write_grid(root)
    return root


def test_groups_differ_in_more_than_their_seed_and_columns_are_what_differs(grid: Path) -> None:
    groups = groups_in(grid)
    assert [group.settings for group in groups] == [
        {"model": "segnet", "loss": "bce"},
        {"model": "segnet", "loss": "dice"},
        {"model": "unet", "loss": "bce"},
        {"model": "unet", "loss": "dice"},
    ]
    assert [[run.seed for run in group.runs] for group in groups] == [[0, 1, 2]] * 4
    assert groups[0].title == "segnet / bce"
    assert groups[0].values("iou").shape == (3, 40)


def test_columns_are_values_below_the_same_choice_and_no_echoes(tmp_path: Path) -> None:
    for name, freeze, frozen, rate in (
        ("a", "none", [], 0.1),
        ("b", "encoder", ["encoder"], 0.1),
        ("c", "none", [], 0.01),
    ):
        config = {"freeze": freeze, "model": {"_target_": "one", "freeze": frozen}, "optimizer": {"lr": rate}}
        write_run(tmp_path, name, SCORES, config=config)
    assert [group.settings for group in groups_in(tmp_path)] == [
        {"freeze": "none", "lr": "0.1"},
        {"freeze": "encoder", "lr": "0.1"},
        {"freeze": "none", "lr": "0.01"},
    ]


def test_seeds_of_a_planned_command_are_one_group_whatever_was_planned(tmp_path: Path) -> None:
    def write(name: str, seed: int, words: list[str] | None, **config: object) -> None:
        plan = {"plan": {"choices": [{"words": words, "why": ""}]}} if words else {}
        write_run(tmp_path, name, SCORES, seed=seed, config={**config, **plan})

    write("a", 0, ["model=segnet", "optimizer=adam", "dataset.batch_size=8"], optimizer={"lr": 0.1, "betas": 1})
    write("b", 1, ["model=segnet", "optimizer=adam", "dataset.batch_size=4", "loss.alpha=0.5"], optimizer={"lr": 0.2})
    write("c", 0, ["model=segnet", "optimizer=adam", "dataset.batch_size=8"], optimizer={"lr": 0.1}, budget="8m")
    write("d", 0, None, optimizer={"lr": 0.3}, budget="8m")
    write("e", 0, None, optimizer={"lr": 0.4}, budget="8m")
    groups = groups_in(tmp_path)
    assert [[run.seed for run in group.runs] for group in groups] == [[0, 1], [0], [0], [0]]
    assert [group.settings["model"] for group in groups] == ["planned", "planned", "unet", "unet"]
    assert [group.settings["lr"] for group in groups] == ["planned", "planned", "0.3", "0.4"]
    assert [group.settings["recipe"] for group in groups] == ["auto", "auto", "none", "none"]
    assert not {"betas", "optimizer.betas", "batch_size"} & groups[0].settings.keys()
    write("f", 0, [], plan={"choices": "none"}, budget="2m")  # of another shape: no plan
    assert groups_in(tmp_path)[-1].settings["model"] == "unet"


def test_what_is_stated_tells_no_groups_apart(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES, seed=0, config={"published": {"test/iou_image": 0.6}})
    write_run(tmp_path, "b", SCORES, seed=1)
    (group,) = groups_in(tmp_path)
    assert format_stated(group, "test/iou_image") == "published 0.600"


def test_groups_are_called_by_their_experiments_and_files_by_their_names(tmp_path: Path) -> None:
    for name, weights in (("frozen", "/a/b/one.pth"), ("trained", "/a/b/two.pth")):
        write_run(
            tmp_path / "x", name, SCORES, config={"overrides": [f"experiment={name}", "seed=0"], "weights": weights}
        )
        write_run(tmp_path / "y", name, SCORES, config={"weights": weights})
    assert [group.title for group in groups_in(tmp_path / "x")] == ["frozen", "trained"]
    assert describe_settings(groups_in(tmp_path / "x")[0]) == {"experiment": "frozen", "weights": "/a/b/one.pth"}
    groups = groups_in(tmp_path / "y")
    assert [group.title for group in groups] == ["one.pth", "two.pth"]
    assert groups[0].settings == {"weights": "/a/b/one.pth"}


def test_numbers_keep_their_digits_in_columns(tmp_path: Path) -> None:
    for name, rate in (("a", 0.1234561), ("b", 0.1234562), ("c", None)):
        write_run(tmp_path, name, SCORES + len(name), config={"optimizer": {"lr": rate}})
    groups = groups_in(tmp_path)
    assert [group.settings for group in groups] == [{"lr": "0.1234561"}, {"lr": "0.1234562"}, {"lr": "null"}]
    assert groups[0].setting("loss") == "bce"  # the same in all, so no column
    assert groups[0].setting("trainer.max_epochs") == "2"


def test_a_known_effect_is_found_and_none_is_not_invented(grid: Path) -> None:
    found = Analysis(groups_in(grid), SETTINGS)
    said = {
        (found.paired[one.one].title, found.paired[one.other].title): one.outcome.verdict for one in found.comparisons
    }
    assert len(said) == 6
    for (one, other), verdict in said.items():
        differ = one.split(" / ")[1] != other.split(" / ")[1]
        assert verdict == ("better" if differ else "not distinguishable with these data")
    assert found.effects["loss"]["dice"].difference.mean == pytest.approx(0.05, abs=0.01)
    assert found.effects["loss"]["dice"].verdict == "better"
    assert found.effects["model"]["unet"].verdict == "not distinguishable with these data"
    words = conclusions.draw_conclusions(found)
    assert "It is better than" in words[0]
    (of_loss,) = [
        text for text in words if text.startswith("Effect of loss against the mean of all, averaged over the other")
    ]
    assert "bce -0.05" in of_loss
    assert "dice +0.05" in of_loss
    assert "other choices" not in of_loss
    size = found.effects["model"]["unet"].detectable
    told = f"(a difference of {size:.3f} would have been found 4 times in 5)"
    text = f"Averaged over the other settings, no choice of model is distinguishable from the mean of all {told}."
    assert text in words


def test_a_difference_that_no_score_can_have_is_not_said_to_be_found() -> None:
    none = "no difference would have been found, not even the largest possible, 1"
    assert none in conclusions.describe_detectable([2.49, 1.2])
    assert conclusions.describe_detectable([0.2, 1.2]) == (
        " (a difference of 0.200 or more would have been found 4 times in 5; for some, not even 1)"
    )
    assert (
        conclusions.describe_detectable([0.2, 0.9])
        == " (a difference of 0.200 to 0.900 would have been found 4 times in 5)"
    )


def test_a_score_without_a_metric_is_in_the_table_as_well(tmp_path: Path) -> None:
    for name, loss, shift in (("a", "bce", 0.0), ("b", "dice", 0.1)):
        folder = write_run(tmp_path, name, SCORES, loss=loss)
        head, *rows = (folder / "per_image.csv").read_text().splitlines()
        lines = [f"{head},precision", *(f"{row},{0.5 + shift}" for row in rows)]
        (folder / "per_image.csv").write_text("\n".join(lines) + "\n")
    found = Analysis(groups_in(tmp_path), SETTINGS | {"metric": "precision"})
    titles, cells = table.make_rows(found)
    assert titles[2] == "precision per picture"
    assert [line[2].text for line in cells] == ["0.500", "0.600"]
    assert found.metric is None
    assert "dice has the highest mean precision per picture, 0.600" in conclusions.draw_conclusions(found)[0]
    assert Analysis(groups_in(tmp_path), SETTINGS | {"metric": "iou_image"}).label == "iou_image"


def test_runs_that_find_nothing_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", SCORES)
    results = json.loads((folder / "results.json").read_text())
    results["metrics"] |= {"test/recall": 0.0, "test/empty_images": 4}
    (folder / "results.json").write_text(json.dumps(results))
    said = conclusions.warnings(Analysis(groups_in(tmp_path), SETTINGS), [])
    assert "Some runs find nothing at all on the test pictures: made_up." in said
    assert "4 test pictures show nothing: on these, predicting nothing scores 1, anything else 0." in said


def test_intervals_of_scores_stay_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for seed, shift in enumerate((0.0, 0.5)):
        write_run(tmp_path, f"a{seed}", 0.2 + shift + rng.uniform(0, 0.1, 30), seed=seed)
    found = Analysis(groups_in(tmp_path), SETTINGS)
    assert (found.means[0].low, found.means[0].high) == (0, 1)
    assert any(text.startswith("Two seeds only (") for text in conclusions.warnings(found, []))


def test_a_baseline_is_what_all_are_compared_with(grid: Path) -> None:
    found = Analysis(groups_in(grid), SETTINGS | {"baseline": {"model": "unet", "loss": "bce"}})
    assert {found.paired[one.other].title for one in found.comparisons} == {"unet / bce"}
    assert len(found.comparisons) == 3
    words = conclusions.draw_conclusions(found)
    assert "It is not distinguishable" not in words[0]  # from others it was not compared with
    assert words[1].startswith("Against unet / bce, the only group that others are compared with: better: ")
    size = found.comparisons[0].outcome.detectable
    told = f"(a difference of {size:.3f} would have been found 4 times in 5)"
    assert f"not distinguishable with these data: segnet / bce {told}." in words[1]
    listed = r"There are: segnet / bce, model: segnet, loss: bce; segnet / dice, model"
    with pytest.raises(ValueError, match=rf"baseline=\{{'model': 'unet'\}} fits 2 groups; .*{listed}"):
        Analysis(groups_in(grid), SETTINGS | {"baseline": {"model": "unet"}})
    with pytest.raises(ValueError, match=rf"baseline=unet fits 0 groups; expected the name of one, or .*{listed}"):
        Analysis(groups_in(grid), SETTINGS | {"baseline": "unet"})
    assert Analysis(groups_in(grid), SETTINGS | {"baseline": "unet / bce"}).baseline == found.baseline
    same_everywhere = {"model": "unet", "loss": "bce", "dataset": "folder", "optimizer.lr": 0.001}
    assert Analysis(groups_in(grid), SETTINGS | {"baseline": same_everywhere}).baseline == found.baseline


def test_of_many_groups_each_is_compared_with_the_best_of_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_PAIRS", 4)
    for number in range(5):
        write_run(tmp_path, f"a{number}", SCORES - 0.01 * number, loss=f"loss{number:02d}")
    found = Analysis(groups_in(tmp_path), SETTINGS)
    assert found.baseline is not None
    assert (found.paired[found.baseline].title, len(found.comparisons)) == ("loss00", 4)
    assert "it has the best validation score; " in report_of(tmp_path).read_text()


def test_a_grid_with_a_hole_has_no_main_effects_and_says_so(tmp_path: Path) -> None:
    write_grid(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    for folder in (tmp_path / "part").glob("unet-dice-*"):
        shutil.rmtree(folder)
    found = Analysis(groups_in(tmp_path / "part"), SETTINGS)
    assert found.effects == {}
    assert "The grid lacks 1 of its combinations, so there are no main effects." in conclusions.warnings(found, [])


def test_tables_for_people_and_for_programs(grid: Path) -> None:
    page = report_of(grid)
    rows = list(csv.DictReader((page.parent / "table.csv").open()))
    group = groups_in(grid)[1]
    means = [run.images["iou"].mean() for run in group.runs]
    assert float(rows[1]["test/iou_image mean"]) == pytest.approx(np.mean(means))
    assert float(rows[1]["test/iou_image sd"]) == pytest.approx(np.std(means, ddof=1))
    assert (rows[1]["seeds"], rows[1]["params"]) == ("0 1 2", "1000.0")
    best = max(float(row["test/iou_image mean"]) for row in rows)
    text = (page.parent / "table.md").read_text()
    assert text.startswith("| model | loss | seeds | iou_image (per picture) |")
    assert f"**{best:.3f} ±" in text
    assert text.count("**") == 2
    latex = (page.parent / "table.tex").read_text()
    assert r"iou\_image" in latex
    assert latex.count(r"\\") == 5
    assert table.escape_latex("50 % of a_b") == r"50 \% of a\_b"
    assert table.escape_latex("[4, 8]") == "{}[4, 8]"  # after a line's end it would be an argument of that
    assert escape_markdown("a_b | _c_ <b>") == r"a_b \| \_c\_ \<b\>"
    assert [escape_cell(cell) for cell in ("=HYPERLINK()", "dice", -0.5)] == ["'=HYPERLINK()", "dice", -0.5]


def test_bold_are_all_that_look_like_the_best(tmp_path: Path) -> None:
    for loss, mean in (("bce", 0.5004), ("dice", 0.4996), ("focal", 0.4994)):
        write_run(tmp_path, loss, [mean - 0.1, mean, mean + 0.1], loss=loss)
    _, cells = table.make_rows(Analysis(groups_in(tmp_path), SETTINGS))
    assert [any(cell.best for cell in line) for line in cells] == [True, True, False]


@pytest.mark.parametrize("order", ["abc", "bac", "acb"])
def test_of_another_size_a_mask_is_not_known_to_differ(tmp_path: Path, order: str) -> None:
    sides = {"a": (10, 30), "b": (20, 120), "c": (10, 31)}  # a and c are of one size
    for place, kind in enumerate(order):
        side, truth = sides[kind]
        folder = write_run(tmp_path, f"{place}{kind}", [0.5], loss=kind, names=["a.png"])
        rows = f"name,index,iou,tp,fp,fn,tn\na.png,0,0.5,{truth},0,0,{side**2 - truth}\n"
        (folder / "per_image.csv").write_text(rows)
    found = {group.title for group in Analysis(groups_in(tmp_path), SETTINGS).paired}
    assert len(found) == 2
    assert "b" in found


def test_numbers_in_titles_have_names_and_a_title_names_the_baseline(tmp_path: Path) -> None:
    for rate in (0.1, 1e-05):
        write_run(tmp_path, f"a{rate}", SCORES, config={"optimizer": {"lr": rate}})
    assert {group.title for group in groups_in(tmp_path)} == {"lr 0.1", "lr 1e-05"}
    text = report_of(tmp_path, "baseline=lr 1e-05").read_text()
    assert "each against lr 1e-05" in text


def test_pictures_of_one_name_whose_masks_differ_are_not_compared(tmp_path: Path) -> None:
    for loss, truth in (("bce", [30, 50]), ("dice", [30, 50]), ("focal", [30, 51])):
        folder = write_run(tmp_path, loss, [0.5, 0.6], loss=loss, names=["a.png", "b.png"])
        counts = [
            f"{name},{at},{0.5 + at / 10},{there - 5},1,5,{99 - there}"
            for at, (name, there) in enumerate(zip(("a.png", "b.png"), truth, strict=True))
        ]
        (folder / "per_image.csv").write_text("\n".join(["name,index,iou,tp,fp,fn,tn", *counts]) + "\n")
    found = Analysis(groups_in(tmp_path), SETTINGS)
    assert [group.title for group in found.paired] == ["bce", "dice"]
    assert [group.title for group in found.not_compared] == ["focal"]


def test_a_class_that_is_never_found_is_told(tmp_path: Path) -> None:
    for seed, found in ((0, 0.3), (1, 0.0)):
        folder = write_run(tmp_path, f"a{seed}", SCORES, seed=seed, config={"dataset": {"classes": ["car", "sky"]}})
        results = json.loads((folder / "results.json").read_text())
        results["metrics"] |= {"test/dice": 0.5, "test/dice/car": 0.5, "test/iou/car": 0.5, "test/iou/sky": found}
        (folder / "results.json").write_text(json.dumps(results))
    shown = metric_names(groups_in(tmp_path))
    assert shown == ["test/iou_image", "test/dice", "test/iou/car", "test/iou/sky"]  # of a class the IoU alone
    said = conclusions.warnings(Analysis(groups_in(tmp_path), SETTINGS), [])
    assert "Some runs never find a class that may be in the test pictures: made_up (sky)." in said


def test_every_interval_and_verdict_is_in_a_file(grid: Path) -> None:
    found = Analysis(groups_in(grid), SETTINGS)
    lines = list(csv.DictReader(table.outcomes_to_csv(found).splitlines()))
    assert [line["what"] for line in lines] == [
        *["mean"] * 4,
        *["difference"] * 6,
        *["effect of model"] * 2,
        *["effect of loss"] * 2,
    ]
    best = found.comparisons[0]
    assert lines[4]["of"] == found.paired[best.one].title
    assert float(lines[4]["estimate"]) == best.outcome.difference.mean
    assert float(lines[4]["p (Holm)"]) == best.outcome.adjusted
    assert lines[-1]["verdict"] == "better"


def test_bold_is_the_best_on_the_same_pictures(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES, loss="bce")
    write_run(tmp_path, "b", SCORES - 0.1, loss="dice")
    write_run(tmp_path, "c", SCORES + 0.1, loss="easy", names=[f"q{number}" for number in range(30)])
    found = Analysis(groups_in(tmp_path), SETTINGS)
    _, cells = table.make_rows(found)
    assert [any(cell.best for cell in line) for line in cells] == [True, False, False]


def test_notes_are_markdown_without_html(tmp_path: Path, grid: Path) -> None:
    (tmp_path / "notes.md").write_text("# Mine\n\n*Dice* wins <script>alert(1)</script> ![x](http://a/b.png)\n")
    text = str(read_notes(tmp_path / "notes.md"))
    assert "<h3>Mine</h3>" in text  # below the page's own headings
    assert "<em>Dice</em>" in text
    assert "<script>" not in text
    assert "<img" not in text
    with pytest.raises(FileNotFoundError, match=r"notes=.*none.md: there is no such file. Write your hypotheses"):
        read_notes(tmp_path / "none.md")


def test_one_run_is_a_report_of_that_run(tmp_path: Path) -> None:
    write_run(tmp_path, "only", SCORES)
    html = report_of(tmp_path).read_text()
    assert "<h1>1 run in 1 group</h1>" in html
    assert "there is nothing to compare it with" in html
    assert "One seed only" in html
