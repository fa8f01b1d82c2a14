"""Is it there? Scores by hand, and the gate that keeps a recall."""

import math
from typing import Any

import pytest
import torch
from torchmetrics.functional.classification import binary_f1_score, binary_precision, binary_recall

from segkit.configs.composing import compose, to_plain
from segkit.evaluation.sheets import presence_figure
from segkit.losses import Dice, Joint, Presence
from segkit.metrics.presence import Answers, PresenceMetrics, gate_for_recall
from segkit.runs.build import build_data, resolve_auto_weights


def measure(probabilities: list[float], labels: list[int], **more: Any) -> PresenceMetrics:
    metrics = PresenceMetrics(**more)
    index = torch.arange(len(labels))
    metrics.update(torch.tensor(probabilities).logit(), torch.tensor(labels), index)
    return metrics


def test_scores_by_hand() -> None:
    # found: yes yes no no yes; truth: yes no yes no yes. TP 2, FP 1, FN 1, TN 1
    result = measure([0.9, 0.8, 0.4, 0.1, 0.6], [1, 0, 1, 0, 1]).compute()
    expected = {
        "precision/1": 2 / 3,
        "recall/1": 2 / 3,
        "f1/1": 2 / 3,
        "precision/0": 1 / 2,
        "recall/0": 1 / 2,
        "f1/0": 1 / 2,
        "f1": 7 / 12,
        "precision": 7 / 12,
        "accuracy": 3 / 5,
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    # by falling probability: yes no yes yes no; precision at each hit 1/1, 2/3, 3/4
    assert result["ap"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # of the 3·2 pairs of a crack and none, 0.4 and 0.6 lie below 0.8
    assert result["auroc"] == pytest.approx(4 / 6)
    assert measure([0.9, 0.4], [1, 1], beta=2.0).compute()["fbeta/1"] == pytest.approx(5 / (5 + 4))


def test_agrees_with_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    probability, label = torch.rand(200, generator=generator), torch.randint(0, 2, (200,), generator=generator)
    result = measure(probability.tolist(), label.tolist(), threshold=0.3).compute()
    for name, function in (("precision", binary_precision), ("recall", binary_recall), ("f1", binary_f1_score)):
        assert result[f"{name}/1"] == pytest.approx(float(function(probability, label, threshold=0.3)))
        absent = float(function(1 - probability, 1 - label, threshold=0.7))
        assert result[f"{name}/0"] == pytest.approx(absent)


def test_without_one_of_the_classes() -> None:
    clean = measure([0.1, 0.2], [0, 0]).compute()
    assert (clean["f1/0"], clean["f1/1"], clean["precision/1"]) == (1, 1, 1)
    assert "ap" not in clean
    assert "auroc" not in clean
    wrong = measure([0.1, 0.9], [0, 0]).compute()
    assert (wrong["precision/1"], wrong["recall/1"], wrong["f1/1"]) == (0, 0, 0)
    cracks = measure([0.9], [1]).compute()
    assert cracks["ap"] == 1
    assert "auroc" not in cracks
    assert PresenceMetrics().compute() == {}


def test_repeated_and_uncounted_samples_count_once_and_never() -> None:
    metrics = PresenceMetrics()
    metrics.update(torch.tensor([5.0, -5.0]), torch.tensor([1, 0]), torch.tensor([4, 2]))
    metrics.update(torch.tensor([-5.0, 5.0]), torch.tensor([1, 0]), torch.tensor([4, -1]))
    answers = metrics.answers()
    assert answers.sample.tolist() == [2, 4]
    assert answers.label.tolist() == [0, 1]
    assert metrics.compute()["accuracy"] == 1


def test_shapes_that_disagree() -> None:
    with pytest.raises(ValueError, match=r"presence logits have shape \(2,\), labels \(1,\)"):
        PresenceMetrics().update(torch.zeros(2), torch.zeros(1), torch.zeros(2))


def test_the_gate_that_keeps_a_recall() -> None:
    label = torch.tensor([1, 1, 1, 1, 0, 0])
    answers = Answers(torch.arange(6), label, torch.tensor([0.9, 0.8, 0.6, 0.2, 0.7, 0.1]).double())
    assert gate_for_recall(answers, 0.75) == pytest.approx(0.4)  # 0.9, 0.8 and 0.6 pass; the next below is 0.2
    assert gate_for_recall(answers, 0.5) == pytest.approx(0.75)
    assert gate_for_recall(answers, 0.51) == pytest.approx(0.4)
    assert gate_for_recall(answers, 1) == pytest.approx(0.15)
    for recall in (0.25, 0.5, 0.75, 1.0):
        gate = gate_for_recall(answers, recall)
        assert (answers.probability[label == 1] > gate).double().mean() == recall
    for recall in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match="expected a recall above 0 and at most 1"):
            gate_for_recall(answers, recall)
    with pytest.raises(ValueError, match="no validation sample shows the class"):
        gate_for_recall(Answers(torch.arange(1), torch.tensor([0]), torch.tensor([0.5])), 0.9)


def test_the_picture_of_it() -> None:
    picture = presence_figure(measure([0.9, 0.8, 0.4], [1, 0, 1]), "crack")
    assert picture.ndim == 3
    assert picture.std() > 10
    assert presence_figure(measure([0.1], [0]), "crack").shape == picture.shape


def test_weight_of_the_samples_with_the_class() -> None:
    # probability ½ costs ln 2 whatever the truth; the one with the class counts three times
    logits, labels = torch.zeros(4), torch.tensor([1, 0, 0, 0])
    assert Presence(pos_weight=3)(logits, labels).item() == pytest.approx(math.log(2) * (3 + 3) / 4)
    joint = Joint(Dice(), pos_weight=3).parts(torch.zeros(4, 1, 2, 2), torch.zeros(4, 2, 2).long(), logits, labels)
    assert joint["presence"].item() == pytest.approx(math.log(2) * 6 / 4)
    with pytest.raises(ValueError, match="pos_weight is 0, expected"):
        Presence(pos_weight=0)


def test_pos_weight_auto_lets_both_kinds_weigh_alike() -> None:
    words = ("model=vgg_classifier", "loss=presence", "loss.pos_weight=auto", "dataset.presence_threshold=0.001")
    config = to_plain(compose(*words, "dataset.counts=[40,2,2]", "dataset.empty_fraction=0.3", "run_dir=x"))
    data = build_data(config)
    labels = torch.tensor(
        [
            int((sample["mask"] == 1).sum() >= 0.001 * sample["mask"].numel())
            for sample in (data.sources["train"][index] for index in range(40))
        ]
    )
    assert 0 < labels.sum() < 40
    found = resolve_auto_weights(config["loss"], data)["pos_weight"]
    assert found == pytest.approx(int((labels == 0).sum()) / int(labels.sum()))


def test_pos_weight_auto_wants_both_kinds() -> None:
    words = ("loss=presence", "loss.pos_weight=auto", "dataset.presence_threshold=0.001", "dataset.empty_fraction=0")
    config = to_plain(compose(*words, "dataset.counts=[4,2,2]", "run_dir=x"))
    with pytest.raises(ValueError, match=r"loss\.pos_weight=auto: the training samples are all of one kind"):
        resolve_auto_weights(config["loss"], build_data(config))
