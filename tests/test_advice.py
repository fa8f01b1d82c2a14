"""What a run is told of itself, by hand-made scores; and that it is told."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, results

from segkit.configs.composing import compose
from segkit.console import format_count
from segkit.evaluate import evaluate
from segkit.evaluation import advice
from segkit.evaluation.advice import SplitScores
from segkit.train import train

CONFIG = {
    "monitor": "val/iou_image",
    "choices": {"loss": "bce"},
    "dataset": {"classes": ["crack"]},
    "model": {},
    "trainer": {"max_epochs": 10},
    "callbacks": {},
    "budget": None,
    "lr_find": False,
}
SEVERAL = CONFIG | {"dataset": {"classes": ["road", "car", "sky"]}, "choices": {"loss": "ce"}}


def row(tp: int = 50, fp: int = 0, fn: int = 0, tn: int = 50) -> dict[str, Any]:
    union = tp + fp + fn
    return {"iou": tp / union if union else 1.0, "tp": tp, "fp": fp, "fn": fn, "tn": tn}


def seen(rows: list[dict[str, Any]], split: str = "val", groups: int | None = None, **metrics: float) -> SplitScores:
    tp, fp, fn, tn = (sum(row[name] for row in rows) for name in ("tp", "fp", "fn", "tn"))
    scores = {"recall": tp / (tp + fn) if tp + fn else 1.0} | {
        name.replace("__", "/"): v for name, v in metrics.items()
    }
    return SplitScores(split, ["crack"], scores, rows, [tp + fn], [tp + fp], tp + fp + fn + tn, len(rows), groups)


def classes(truth: list[int], predicted: list[int], **metrics: float) -> SplitScores:
    scores = {f"recall/{name}": value for name, value in metrics.items()}
    rows = [row()] * 20
    return SplitScores("val", ["road", "car", "sky"], scores, rows, truth, predicted, sum(truth), len(rows))


def told(*values: Any) -> str:
    return "\n".join(advice.judge_scores(*values))


def test_masks_that_are_all_alike_are_told_and_counts_agree_with_their_words() -> None:
    (found,) = advice.judge_truth(seen([row(0, 0, 0, 100)] * 20, "test"))
    assert found.startswith("the test masks are all empty, so their scores say nothing about how well crack is found")
    assert "all full" in advice.judge_truth(seen([row(100, 0, 0, 0)] * 20))[0]
    assert advice.judge_truth(seen([row()] * 20)) == []
    assert "1 validation picture is little to choose" in told(seen([row()]), CONFIG)
    assert [format_count(1, "class", "classes"), format_count(2, "class", "classes"), format_count(0, "picture")] == [
        "1 class",
        "2 classes",
        "0 pictures",
    ]


def test_a_run_that_does_well_is_told_nothing() -> None:
    assert advice.judge_scores(seen([row()] * 20, groups=5), CONFIG) == []
    assert advice.judge_scores(classes([50, 30, 20], [50, 30, 20], road=1.0, car=1.0, sky=1.0), SEVERAL) == []


def test_nothing_found() -> None:
    assert "find nothing that the validation masks show: try more epochs" in told(seen([row(0, 0, 5, 95)] * 20), CONFIG)
    assert told(seen([row(0, 0, 0, 100)] * 20), CONFIG) == ""  # there is nothing to be found
    frozen = CONFIG | {"model": {"freeze": ["unet"]}}
    assert "masks that were taken over find nothing" in told(seen([row(0, 0, 5, 95)] * 20), frozen)
    assert "no validation sample is found" in told(seen([row()] * 20, presence_recall__1=0.0), CONFIG)


@pytest.mark.parametrize(("tp", "fp", "says"), [(5, 95, True), (96, 4, False), (5, 45, False)])
def test_everything_painted(tp: int, fp: int, says: bool) -> None:
    text = told(seen([row(tp, fp, 0, 100 - tp - fp)] * 20), CONFIG)
    assert ("paint nearly every validation pixel as crack" in text) == says


def test_everything_painted_as_one_class_of_several() -> None:
    text = told(classes([50, 30, 20], [100, 0, 0], road=1.0, car=0.0, sky=0.0), SEVERAL)
    assert "paint nearly every validation pixel as road" in text
    assert "never found" not in text  # which follows


def test_a_class_that_is_never_found() -> None:
    text = told(classes([50, 30, 20], [70, 30, 0], road=1.0, car=1.0, sky=0.0), SEVERAL)
    assert "never found, though the validation masks show it: sky" in text
    assert told(classes([50, 50, 0], [50, 50, 0], road=1.0, car=1.0, sky=0.0), SEVERAL) == ""


def test_scores_that_come_from_empty_pictures() -> None:
    nothing = [row(0, 0, 0, 100)] * 15
    text = told(seen([*nothing, *[row(1, 4, 5, 90)] * 5]), CONFIG)  # 15 · 1 + 5 · 0.1 of 20
    assert "IoU a picture of validation, 0.775, comes from pictures that show nothing (15 of 20" in text
    assert "on those with crack it is 0.100" in text
    assert told(seen([*nothing, *[row(8, 1, 1, 90)] * 5]), CONFIG) == ""


def test_few_pictures_and_few_groups() -> None:
    assert "9 validation pictures are few to choose an epoch by" in told(seen([row()] * 9), CONFIG)
    assert "9 test pictures are few: expect" in told(seen([row()] * 9, "test"), CONFIG)
    assert "the 20 validation pictures come from 2 groups" in told(seen([row()] * 20, groups=2), CONFIG)
    assert told(seen([row()] * 20, groups=3), CONFIG) == ""


@pytest.mark.parametrize(
    ("own", "named", "never"),
    [
        ({}, "loss=bce_dice", "budget"),
        ({"choices": {"loss": "bce_dice"}}, "loss=focal_tversky", "loss=bce_dice"),
        ({"budget": "10m"}, "a larger budget", "max_epochs"),
        ({"callbacks": {"early_stopping": {}}}, "early_stopping.patience", "max_epochs"),
        ({"lr_find": True}, "another optimizer.lr", "lr_find"),
        ({"choices": {"loss": "presence"}}, "more epochs", "loss="),
        (SEVERAL | {"choices": {"loss": "dice"}}, "loss=focal", "loss=dice"),
    ],
)
def test_a_remedy_never_names_what_the_run_has(own: dict[str, Any], named: str, never: str) -> None:
    text = advice.suggest_remedies(CONFIG | own, 5)
    assert named in text
    assert never not in text


def history(*scores: Any, monitor: str = "val/iou_image", **more: Any) -> list[dict[str, Any]]:
    return [{"epoch": at, monitor: score, "val/loss": 0.5} | more for at, score in enumerate(scores, 1)]


@pytest.mark.parametrize(
    ("scores", "best", "passes", "own", "says"),
    [
        ((0.1, 0.3, 0.2), 2, 3, {}, ""),
        ((0.3, 0.2, 0.1), 1, 3, {}, "the first epoch was the best.*smaller optimizer.lr"),
        ((0.1, 0.2, 0.3), 3, 3, {}, r"the last epoch was the best.*more epochs \(trainer.max_epochs\)"),
        ((0.1, 0.2, 0.3), 3, 3, {"budget": "5m"}, ""),
        ((0.1, 0.3), 2, 1.4, {"budget": "5m"}, "trained for 1.4 epochs.*a larger budget"),
        ((0.3,), 1, 1, {}, "trained for 1 epoch.*more epochs"),
        ((0.2, 0.2, 0.2), 1, 3, {}, "val/iou_image was 0.2000 in every epoch"),
        ((0.1, float("nan"), 0.05), 1, 3, {}, "NaN or infinite values in epoch 2"),
    ],
)
def test_how_a_training_went(
    scores: tuple[float, ...], best: int, passes: float, own: dict[str, Any], says: str
) -> None:
    rows = seen([row()] * 20, "train")
    text = "\n".join(advice.judge_training(CONFIG | own, history(*scores), passes, best, rows))
    assert re.search(says, text)
    assert says or not text


def test_a_class_in_no_training_mask() -> None:
    rows = classes([50, 50, 0], [50, 50, 0], road=1.0, car=1.0)
    text = "\n".join(advice.judge_training(SEVERAL, history(0.1, 0.3, 0.2), 3, 2, rows))
    assert "in no training mask, so never learnt: sky" in text


def test_a_run_and_its_evaluation_say_it(tmp_path: Path, tiny_run: Path) -> None:
    checkpoint = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["net.head.weight"].zero_()
    checkpoint["state_dict"]["net.head.bias"].fill_(9.0)
    torch.save(checkpoint, tmp_path / "all.ckpt")
    words = [f"init_from={tmp_path}/all.ckpt", "optimizer.lr=1e-9", "trainer.max_epochs=1"]
    train(compose(*TINY, *words, f"run_dir={tmp_path}/run"))
    found = results(tmp_path / "run")["advice"]
    assert any("paint nearly every validation pixel as crack" in text for text in found)
    assert any("5 validation pictures are few" in text for text in found)
    assert any("trained for 1 epoch" in text for text in found)
    log = (tmp_path / "run" / "train.log").read_text()
    assert all(f"WARNING {text}" in log for text in found)
    evaluate(compose(f"run={tmp_path}/run", f"output_dir={tmp_path}/scored", config="evaluate"))
    again = json.loads((tmp_path / "scored" / "results.json").read_text())["advice"]
    assert any("paint nearly every test pixel as crack" in text for text in again)
