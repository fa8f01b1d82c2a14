"""The input of reports: runs that are found, damaged, copied, of different tasks, or have unusual names."""

import re
import shutil
import time
from pathlib import Path

import pytest
from made_up import SCORES, SETTINGS, groups_in, report_of, write_run

from segkit.reporting import collect
from segkit.reporting.analysis import Analysis
from segkit.reporting.groups import Run, group_runs


def test_runs_are_found_by_folder_pattern_and_list(tmp_path: Path) -> None:
    for name in ("a/one", "a/two", "b/three"):
        write_run(tmp_path, name, SCORES)
    write_run(tmp_path, "b/three/stages/first", SCORES)  # a part of that run
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "results.json").write_text("{}")  # no run, and of none
    found = {str(path.relative_to(tmp_path)) for path in collect.find(str(tmp_path))}
    assert found == {"a/one", "a/two", "b/three"}
    assert len(collect.find(f"{tmp_path}/a/**")) == 2
    assert len(collect.find([f"{tmp_path}/a/*", f"{tmp_path}/b/three"])) == 3
    with pytest.raises(ValueError, match=r"runs=.*nothing/\*: no run folder there .*Give a pattern in quotes"):
        collect.find(f"{tmp_path}/nothing/*")


def test_links_lead_nowhere_but_where_they_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", "a", SCORES)
    for name in ("l1", "l2", "l3"):
        (folder / name).symlink_to(".")
    (tmp_path / "named").symlink_to(tmp_path / "runs")
    for pattern in ("runs/**", "named/**", "n*/**", "runs/**/a", "runs/a/results.json", "named"):
        assert collect.find(f"{tmp_path}/{pattern}") == [folder.resolve()], pattern


def test_a_copied_run_is_no_further_evidence(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    page = report_of(tmp_path)
    assert "<h1>1 run in 1 group</h1>" in page.read_text()
    assert re.search(r"/b</code>: it has the config and all scores of .*/a; both count as one run", page.read_text())


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    write_run(tmp_path, "a<i>", SCORES, loss=evil)
    write_run(tmp_path, "b", SCORES, model="<b>", config={"dataset": {"classes": [evil], "root": evil}})
    write_run(tmp_path, "c<i>", SCORES, status="failed")
    with pytest.raises(ValueError, match="different tasks: their classes differ"):
        report_of(tmp_path)
    config = {"dataset": {"classes": ["object"], "root": evil}}
    shutil.rmtree(tmp_path / "b")
    write_run(tmp_path, "b", SCORES, model="<b>", config=config)
    html = report_of(tmp_path).read_text()
    assert evil not in html
    assert "&lt;script&gt;" in html
    assert "<b> /" not in html
    assert "/c&lt;i&gt;</code>: failed" in html


def test_unfinished_and_damaged_runs_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "good", SCORES)
    write_run(tmp_path, "failed", SCORES, status="failed")
    cut = write_run(tmp_path, "cut", SCORES)
    (cut / "results.json").write_text('{"status": "finished", "metr')
    early = tmp_path / "early"  # failed before it had a config
    early.mkdir()
    (early / "results.json").write_text('{"status": "failed", "config_hash": null, "metrics": {}, "error": "no root"}')
    html = report_of(tmp_path).read_text()
    assert re.search(r"<code>[^<]*early</code>: failed: no root", html)
    assert re.search(r"<code>[^<]*cut</code>: its results.json is cut short or damaged", html)
    assert re.search(r"<code>[^<]*failed</code>: failed", html)
    assert "Folders left out: 3." in html
    assert "left out: " in capsys.readouterr().err
    shutil.rmtree(tmp_path / "good")
    with pytest.raises(ValueError, match="none of the 3 runs there is usable"):
        report_of(tmp_path)


DAMAGE = [
    ("config.yaml", "trainer:\ndataset:\n", "trainer is not a mapping"),
    ("config.yaml", "trainer: {}\ndataset: {}\nseed: many\n", "invalid literal"),
    ("config.yaml", "trainer: {}\ndataset: {}\nexpected: {test/iou: high}\n", "expected: test/iou is not a number"),
    ("config.yaml", "trainer: {}\ndataset: {}\ndeparts: 5\n", "departs is not a list of texts"),
    ("config.yaml", "trainer: {}\ndataset: {}\ndeparts: wider\n", "departs is not a list of texts"),
    ("environment.json", "[]", "environment.json is not a mapping"),
    ("results.json", '{"status": "finished", "metrics": {"test/iou": null}}', "metrics: test/iou is not a number"),
    (
        "results.json",
        f'{{"status": "finished", "metrics": {{"test/iou": 1{"0" * 400}}}}}',
        "test/iou is too large for float32",
    ),
    (
        "results.json",
        f'{{"status": "finished", "metrics": {{}}, "train_seconds": 1{"0" * 400}}}',
        "train_seconds is too large",
    ),
    ("metrics.csv", "epoch,train/loss\n1,1e308\n2,-1e308\n", "train/loss is too large"),
    ("metrics.csv", "epoch,train/loss\n1e300,0.5\n", "epoch is too large"),
    ("per_image.csv", "name,index,other\np000.png,0,1e308\n", "other is too large"),
    ("results.json", '{"status": "finished", "metrics": {"test/x": -1e200}}', "test/x is too large"),
    ("results.json", '{"status": "finished", "metrics": {}, "params": Infinity}', "params is too large"),
    ("config.yaml", "trainer: {}\ndataset: {classes: 5}\n", "its files cannot be read"),
    ("config.yaml", "trainer: {}\ndataset: {}\nchoices: {loss: [1]}\n", "choices: loss is not the name"),
    ("results.json", "[" * 100_000, "its results.json is cut short or damaged"),
    ("per_image.csv", "", "per_image.csv is missing or empty"),
    ("per_image.csv", "name,index,iou\np000.png,0,0.1\n", "is not test/iou_image"),
]


@pytest.mark.parametrize(("file", "content", "reason"), DAMAGE)
def test_a_damaged_folder_is_left_out_with_the_reason(tmp_path: Path, file: str, content: str, reason: str) -> None:
    (write_run(tmp_path, "bad", SCORES) / file).write_text(content)
    problem = collect.read(tmp_path / "bad")
    assert isinstance(problem, collect.Problem)
    assert reason in problem.reason


def test_damaged_folders_do_not_end_the_report(tmp_path: Path) -> None:
    write_run(tmp_path, "good", SCORES)
    for number, (file, content, _) in enumerate(DAMAGE):
        (write_run(tmp_path, f"bad{number}", SCORES, loss="dice") / file).write_text(content)
    text = report_of(tmp_path).read_text()
    assert "<h1>1 run in 1 group</h1>" in text
    assert f"Folders left out: {len(DAMAGE)}." in text


def test_a_deep_data_set_does_not_end_the_report(tmp_path: Path) -> None:
    run = write_run(tmp_path, "good", SCORES)
    bad = tmp_path / "evaluated"
    bad.mkdir()
    deep = '{"a": ' * 900 + "1" + "}" * 900
    (bad / "results.json").write_text(
        f'{{"status": "finished", "run": "{run}", "metrics": {{}}, "dataset": {deep}, "precision": "32-true"}}'
    )
    (bad / "per_image.csv").write_text((run / "per_image.csv").read_text())
    text = report_of(tmp_path).read_text()
    assert "<h1>1 run in 1 group</h1>" in text
    assert "Folders left out: 1." in text


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(tmp_path: Path) -> None:
    write_run(tmp_path, "exp[2]/a", SCORES)
    assert len(collect.find(str(tmp_path / "exp[2]"))) == 1


def test_a_named_folder_without_a_run_is_missed(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES)
    (tmp_path / "killed").mkdir()
    found = [collect.read(folder) for folder in collect.find([str(tmp_path / "a"), str(tmp_path / "killed")])]
    assert [getattr(one, "reason", None) for one in found] == [None, "it has no results.json"]


def test_runs_of_different_tasks_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES, column="iou")
    write_run(tmp_path, "b", SCORES, column="depth_error", loss="l1")
    with pytest.raises(ValueError, match="have no score of test pictures in common, so they are of different tasks"):
        Analysis(groups_in(tmp_path), SETTINGS)
    with pytest.raises(ValueError, match=r"metric=score: not a score in every run's per_image.csv; they share iou"):
        Analysis(groups_in(tmp_path)[:1], SETTINGS | {"metric": "score"})
    write_run(tmp_path, "c", SCORES, config={"dataset": {"classes": ["cat", "dog"]}})
    with pytest.raises(
        ValueError, match=r"different tasks: their classes differ \(object: .*; cat, dog: .*\)\. Report on each"
    ):
        Analysis([group for group in groups_in(tmp_path) if "l1" not in group.title], SETTINGS)


def test_a_killed_run_is_missed_too(tmp_path: Path) -> None:
    write_run(tmp_path, "a", SCORES)
    killed = write_run(tmp_path, "killed", SCORES, loss="dice")
    (killed / "overrides.yaml").write_text("[]")
    (killed / "results.json").unlink()
    assert re.search(r"/killed</code>: it has no results.json", report_of(tmp_path).read_text())


def test_counts_are_no_scores(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", SCORES)
    rows = (folder / "per_image.csv").read_text().splitlines()
    (folder / "per_image.csv").write_text("\n".join([f"{rows[0]},fp", *(f"{row},3" for row in rows[1:])]) + "\n")
    with pytest.raises(ValueError, match=r"metric=fp: not a score .* they share iou\."):
        Analysis(groups_in(tmp_path), SETTINGS | {"metric": "fp"})


def test_many_settings_of_ones_own_take_a_moment(tmp_path: Path) -> None:
    for run in range(2):
        own = {f"own_{run}_{number}": number for number in range(3000)}
        write_run(tmp_path, f"r{run}", SCORES, config={"model": {"_target_": "mine", **own}})
    found = [collect.read(folder) for folder in collect.find(str(tmp_path))]
    runs = [run for run in found if isinstance(run, Run)]
    assert len(runs) == len(found)
    started = time.process_time()
    groups = group_runs(runs)
    assert time.process_time() - started < 3
    assert len(groups[0].settings) == 6000


def test_columns_that_say_the_same_are_one(tmp_path: Path) -> None:
    for run, (model, frozen) in enumerate((("a", True), ("b", False), ("b", False))):
        config = {"model": {"freeze": frozen}, "optimizer": {"freeze": not frozen}, "loss": {"weight": run}}
        write_run(tmp_path, f"r{run}", SCORES + run / 100, model=model, config=config)
    assert [list(group.settings) for group in groups_in(tmp_path)] == [["model", "weight", "freeze"]] * 3


def test_losses_that_are_no_numbers_leave_gaps_in_charts_and_say_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    for seed, losses in enumerate((("inf", "nan", "3e38"), ("-inf", "-3e38", "0.5"))):
        folder = write_run(tmp_path, f"r{seed}", SCORES, seed=seed)
        rows = [f"{epoch},2.0,{loss},0.5,0.5,0.6" for epoch, loss in enumerate(losses, 1)]
        (folder / "metrics.csv").write_text(
            "\n".join(["epoch,seconds,train/loss,val/loss,train/iou,val/iou", *rows]) + "\n"
        )
    assert "<h1>2 runs in 1 group</h1>" in report_of(tmp_path).read_text()
    assert [str(one.message) for one in recwarn] == []
    assert "arning" not in capsys.readouterr().err
