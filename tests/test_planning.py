"""The rules of a plan, on machines that are made up."""

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import fill
from machines import ALL, CORE, CORES, GPU, SCRATCH, SKIN, TABLE, VESSELS, MadeUp

from segkit.configs.composing import compose
from segkit.configs.recipe import check_planned
from segkit.models.unet import UNet
from segkit.models.weights import expect_shares
from segkit.planning import rules, setups
from segkit.planning.fingerprint import Fingerprint, leans
from segkit.planning.machine import Cost, Network, ThisMachine, extrapolate, unet
from segkit.planning.plan import leave_given, leave_last, make_plan
from segkit.planning.rules import Choice


def setup(data: Fingerprint, machine: MadeUp, seconds: float, offered: list[Network] = ALL) -> setups.Setup:
    return setups.find_setups(data, machine, seconds, offered)[0]


def choose(
    data: Fingerprint,
    machine: MadeUp,
    seconds: float,
    offered: list[Network] = ALL,
    given: setups.Given = setups.NOTHING,
) -> tuple[setups.Setup, list[Choice]]:
    found = setups.find_setups(data, machine, seconds, offered, given)[0]
    return found, rules.choose(data, machine, found, given.prediction)


def test_a_step_is_priced_by_its_pixels() -> None:
    found = setup(replace(SKIN, thin=768.0, thick=768.0), CORE, 100, [unet(16)])
    assert found.size == (64, 64)  # nothing finer is needed
    assert found.batch == 4
    assert found.seconds == pytest.approx(1.15 * (0.01 + 4e-6 * 4 * 64 * 64))
    assert found.passes == pytest.approx(100 * 0.85 / found.seconds * 4 / 100)


@pytest.mark.parametrize("offered", [ALL, SCRATCH])
@pytest.mark.parametrize("data", [SKIN, VESSELS], ids=["skin", "vessels"])
def test_more_time_never_gives_a_smaller_worth(data: Fingerprint, offered: list[Network]) -> None:
    found = [setup(data, CORE, seconds, offered) for seconds in (60, 120, 240, 480, 960, 3600, 36000)]
    worth = [setups.worth(data, one) for one in found]
    assert worth == sorted(worth)
    sides = [max(one.size) for one in found]
    assert sides[-1] >= sides[0]


def test_objects_decide_the_size() -> None:
    assert setups.wanted_scale(SKIN) == pytest.approx((48 / 300, 1.5 / 150))
    assert setups.wanted_scale(VESSELS) == pytest.approx((1.0, 0.5))
    assert setups.wanted_scale(replace(SKIN, thin=0.0, thick=0.0)) == (1.0, 0.25)
    for seconds in (10, 100, 1000, 100_000):
        assert max(setup(VESSELS, CORE, seconds).size) >= 480  # thinner than 1.5 pixels is not seen
        assert max(setup(SKIN, CORE, seconds).size) <= 2 * 160  # twice what shows them well, with time to spare
    assert max(setup(SKIN, CORE, 10).size) == 64


def test_no_size_is_above_the_largest() -> None:
    thin = replace(SKIN, size=(2000, 3000), largest=3000, thin=1.6, thick=3.0)
    assert [max(size) for size in setups.sizes_between(thin, *setups.wanted_scale(thin)[::-1])] == [1024]


def test_windows_are_cut_where_a_whole_picture_would_be_too_large() -> None:
    walls = replace(SKIN, train=40, val=10, size=(3000, 4000), largest=4000, thin=3.0, thick=6.0)
    found, choices = choose(walls, CORE, 600)
    assert found.size == (256, 256)
    assert 0.5 <= found.scale <= 1.0  # thinner than 1.5 pixels is not seen
    assert found.windows == pytest.approx(found.scale**2 * 3000 * 4000 / 256**2)
    words = [word for choice in choices for word in choice.words]
    assert {"dataset.train=crop", "dataset.eval=native", "dataset.foreground=0.33"} <= {*words}
    assert f"dataset.scale={found.scale:.3g}" in words
    assert found.passes == pytest.approx(600 * 0.85 / found.seconds * found.batch / 40 / found.windows)
    slow, fast = (choose(walls, machine, 600)[0] for machine in (CORE, GPU))
    assert slow.scale < fast.scale <= 1
    assert not choose(walls, CORE, 600, given=setups.Given(size=(512, 512)))[0].scale
    assert not choose(replace(walls, thin=10.0, thick=30.0), CORE, 600)[0].scale  # seen in 1024 pixels


def test_a_quarter_of_the_windows_is_enough() -> None:
    whole = setups.Setup(unet(8), (256, 256), 4, 0.5, 0.1)
    assert not setups.is_enough(whole)
    assert setups.is_enough(whole._replace(scale=0.5, windows=20))
    assert not setups.is_enough(whole._replace(scale=0.5, windows=20, passes=0.2))


def test_a_batch_says_why_it_is_as_it_is() -> None:
    def why(data: Fingerprint, machine: MadeUp) -> str:
        _, choices = choose(data, machine, 3600, [unet(8)], setups.Given(size=(512, 512)))
        return next(choice.why for choice in choices if choice.words[0].startswith("dataset.batch_size="))

    assert why(SKIN, CORE) == "from scratch, more steps teach more than larger batches"
    for train in (30, 40):
        assert why(replace(SKIN, train=train), CORE) == f"at most a tenth of {train} training pictures"
    assert why(replace(SKIN, train=11), CORE) == "the least, for batch norm"
    assert why(SKIN, MadeUp(4e-6, memory=7e8)).startswith("as many as half of the free memory holds, 0.3 GB")


def test_sizes_keep_proportions_in_multiples_of_the_stride() -> None:
    found = list(setups.sizes_between(replace(SKIN, size=(300, 1000)), 0.1, 1.0))
    assert found[0] == (320, 1024)
    assert found[-1] == (32, 96)
    assert all(height % 32 == width % 32 == 0 for height, width in found)


def test_pretrained_weights_come_first_and_widths_follow_the_time() -> None:
    assert setup(SKIN, CORES, 240).network.pretrained
    assert not setup(SKIN, CORES, 240, SCRATCH).network.pretrained
    widths = [setup(SKIN, machine, 240, SCRATCH).network.width for machine in (MadeUp(4e-5), CORE, GPU)]
    assert widths == sorted(widths)
    assert widths[-1] == 32


def test_batches_and_passes() -> None:
    assert [setups.batch_size(count, True, True) for count in (5, 20, 65, 1000)] == [2, 2, 6, 8]
    assert [setups.batch_size(count, True, False) for count in (5, 35, 65, 1000)] == [2, 3, 4, 4]
    assert setups.batch_size(1000, False, True) == setups.batch_size(1000, False, False) == 16
    assert [setups.wanted_passes(count, True) for count in (20, 100, 200_000)] == [40, 40, 12]
    assert [setups.wanted_passes(count, False) for count in (20, 100, 200_000)] == [80, 60, 10]


def test_validation_takes_about_a_tenth() -> None:
    many = replace(SKIN, val=400)
    found = setup(many, CORE, 600)
    each = setups.passes_an_epoch(many, CORE, found)
    validation = 400 * CORE.cost(found.network).seen * found.size[0] * found.size[1]
    epoch = each * (100 // found.batch) * found.seconds
    assert each > 1
    assert validation / epoch < 0.12 or each == int(found.passes / 10)


@pytest.mark.parametrize("train", [20, 200_000])
@pytest.mark.parametrize("classes", [1, 2, 150])
def test_any_number_of_pictures_and_classes_has_a_plan(train: int, classes: int) -> None:
    data = replace(SKIN, train=train, classes=classes, shares=(1 / classes,) * classes)
    _, choices = choose(data, CORES, 600, ALL)
    words = [word for choice in choices for word in choice.words]
    assert ("loss=bce_dice" in words) == (classes == 1)
    assert all(choice.why for choice in choices)


def test_several_gpus_train_together() -> None:
    eight, one = MadeUp(2e-8, "cuda", devices=8), GPU
    found, choices = choose(replace(SKIN, train=20_000), eight, 600, ALL)
    words = [word for choice in choices for word in choice.words]
    assert words[words.index("trainer=ddp") + 1] == "trainer.devices=8"
    alone, choices = choose(replace(SKIN, train=20_000), one, 600, [found.network], setups.Given(size=found.size))
    assert "trainer=ddp" not in [word for choice in choices for word in choice.words]
    assert found.passes == pytest.approx(0.9 * 8 * alone.passes)


def test_a_batch_fits_into_half_of_the_memory() -> None:
    cost = Cost(0.01, 1e-8, 1e-9, kept=1000.0)
    assert [setups.fitting_batch(16, MadeUp(1, memory=memory), cost, (500, 1000)) for memory in (1e11, 8e9, 1e6)] == [
        16, 8, 2,
    ]  # fmt: skip
    assert setup(VESSELS, MadeUp(2e-8, "cuda", memory=2e9), 3600).batch == 2


def test_an_untrained_network_expects_each_class_as_often_as_it_occurs() -> None:
    assert rules.choose_prior(replace(SKIN, shares=(0.0161,))).words == ("model.prior=[0.016]",)
    assert rules.choose_prior(replace(SKIN, shares=(0.9, 0.1, 0.0))).words == ("model.prior=[0.9,0.1,0]",)
    torch.manual_seed(0)
    for shares in ([0.02], [0.7, 0.2, 0.1]):
        net = UNet(len(shares), widths=[4, 8]).eval()
        expect_shares(net, shares)
        logits = net(torch.zeros(1, 3, 16, 16))
        found = logits.sigmoid() if len(shares) == 1 else logits.softmax(1)
        assert found.mean((0, 2, 3)).tolist() == pytest.approx(shares, rel=0.2)
    with pytest.raises(ValueError, match=r"model\.prior=\[0\.5\]: expected a share for each channel .* UNet's has 3"):
        expect_shares(net, [0.5])


def test_few_validation_pictures_do_not_choose_the_epoch() -> None:
    assert rules.choose_epoch(replace(SKIN, val=19)).words == ("monitor=epoch",)
    assert rules.choose_epoch(replace(SKIN, val=20)).words == ("monitor=val/iou",)


def test_views_fill_the_time_that_a_prediction_may_take() -> None:
    """On this machine a picture of 256×192 takes 49,152 · 1e-6 · (20/16)^1.4 s, 67 ms."""

    def words(most_ms: float, **changes: object) -> list[str]:
        data = replace(SKIN, **changes)  # type: ignore[arg-type]
        given = setups.Given(size=(192, 256), prediction=most_ms / 1000)
        return [word for choice in choose(data, CORE, 600, [setups.LITE0], given)[1] for word in choice.words]

    each = 1000 * 192 * 256 * 1e-6 * (20 / 16) ** 1.4
    assert not [word for word in words(1.9 * each) if word.startswith("tta=")]
    assert "tta=mirror" in words(3.9 * each)
    assert "tta=flips" in words(4.1 * each)
    assert "tta=d4" in words(8.1 * each)
    assert "tta=mirror" in words(8.1 * each, upright=True)
    assert not [word for word in words(float("inf")) if word.startswith("tta=")]


def test_a_setup_predicts_in_the_time_that_is_given() -> None:
    free = setups.find_setups(SKIN, CORE, 3600, ALL)[0]
    most = setups.prediction_seconds(CORE, free.network, free.size) / 2
    kept = setups.find_setups(SKIN, CORE, 3600, ALL, setups.Given(prediction=most))[0]
    assert setups.prediction_seconds(CORE, kept.network, kept.size) <= most
    with pytest.raises(ValueError, match=r"predict_ms=0\.01 is too short: .* takes \d+\.\d ms for a picture here"):
        setups.find_setups(SKIN, CORE, 3600, ALL, setups.Given(prediction=1e-5))


def test_enough_validation_pictures_calibrate() -> None:
    assert rules.choose_calibration(SKIN)[0].words == ("calibrate=true",)
    assert "threshold" in rules.choose_calibration(SKIN)[0].why
    assert "threshold" not in rules.choose_calibration(replace(SKIN, classes=3))[0].why
    assert rules.choose_calibration(replace(SKIN, val=19)) == []


def test_a_direction_is_seen_in_brightness() -> None:
    sky = np.full((3, 40, 30), 60, np.uint8)
    sky[:, :20] = 200
    flat = [np.full((3, 40, 30), 100 + at % 2, np.uint8) for at in range(10)]
    assert leans([sky] * 10)
    assert not leans([sky, sky[:, ::-1]] * 5)
    assert not leans(flat)
    assert not leans([sky] * 3)  # too few to tell
    upright = rules.choose_augmentation(replace(SKIN, upright=True)).words
    assert "augment.vertical=0" in upright
    assert rules.choose_augmentation(SKIN).words == ("augment=light",)


def test_what_is_said_is_never_changed() -> None:
    choices = [Choice(("loss=dice", "loss.pool=batch"), "a"), Choice(("optimizer=adamw", "optimizer.lr=1"), "b")]
    left = [choice.words for choice in leave_given(choices, ["loss=focal", "optimizer.lr=2"])]
    assert left == []  # the rate belongs to an optimiser that the person has in mind
    left = [choice.words for choice in leave_given(choices, ["dataset.size=64", "seed=1"])]
    assert left == [choice.words for choice in choices]
    size = [Choice(("dataset.size=[64,64]",), "c"), Choice(("dataset.batch_size=8",), "d")]
    assert [choice.why for choice in leave_given(size, ["dataset.size=64", "dataset=ph2"])] == ["d"]


def test_a_later_choice_takes_the_place_of_an_earlier_one() -> None:
    choices = [Choice(("dataset.train=resize", "dataset.crops=none"), "a"), Choice(("dataset.train=crop",), "b")]
    kept = [choice.words for choice in leave_last(choices)]
    assert kept == [("dataset.crops=none",), ("dataset.train=crop",)]


def test_what_is_given_is_counted_with() -> None:
    found, _ = choose(SKIN, CORE, 600, ALL, setups.Given(size=(300, 200), batch=3))
    assert (found.size, found.batch) == ((300, 200), 3)
    cost = CORE.cost(found.network)
    assert found.seconds == pytest.approx(1.15 * (cost.step + cost.pixel * 3 * 300 * 200))


def test_this_machine_is_measured() -> None:
    machine = ThisMachine(1)
    narrow, between, wide = (machine.cost(unet(width)) for width in (8, 12, 32))
    assert 0 < narrow.pixel <= between.pixel <= wide.pixel < 1e-3
    assert 0 < narrow.seen < 1e-3
    assert machine.cost(unet(12)) is between
    assert narrow.kept < between.kept < wide.kept < 10_000  # bytes are counted, not timed


def test_other_work_on_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    for share, said in ((0.9, False), (0.5, True)):
        monkeypatch.setattr(time, "process_time", lambda share=share: share * threads * time.perf_counter())
        machine = ThisMachine(1)
        assert "other work" not in machine.describe()  # nothing was measured
        machine.cost(unet(8))
        assert ("; other work left 50% of it to the measuring" in machine.describe()) == said


def test_measuring_takes_a_share_of_the_budget() -> None:
    def clock(allowed: float) -> int:
        times = list[float]()

        def work() -> None:
            time.sleep(0.01)
            times.append(time.perf_counter())

        ThisMachine(1, allowed=allowed)._clock(work)
        return len(times)

    assert clock(10) == 3
    assert clock(0.015) == 2
    assert clock(0) == 1


def test_costs_of_other_widths_grow_whatever_was_measured() -> None:
    narrow = Cost(0.01, 1e-6, 4e-7, 300.0, 0.002)
    usual = extrapolate(narrow, Cost(0.02, 3e-6, 1.2e-6, 600.0, 0.004), 2)
    assert usual == pytest.approx((0.04, 9e-6, 3.6e-6, 1200.0, 0.008))
    disturbed = extrapolate(narrow, Cost(0.001, 9e-6, 1e-7, 0.0, 0.0), 2)
    assert disturbed == pytest.approx((0.01, 16e-6, 4e-7, 300.0, 0.002))


def test_the_machine_is_the_one_that_the_command_names() -> None:
    machine = ThisMachine(1, ["model=unet", "trainer=cpu", "precision=32-true", "dataset.size=64"])
    assert machine.words == ["trainer=cpu", "precision=32-true"]
    assert (machine.device.type, machine.precision, machine.devices) == ("cpu", "32-true", 1)


def test_the_budget_that_is_proposed_is_that_of_the_quickest_network() -> None:
    for offered in (SCRATCH, SCRATCH[::-1]):
        seconds, why = setups.propose_budget(VESSELS, CORES, offered)
        assert (seconds, why) == setups.propose_budget(VESSELS, CORES, [unet(8)])
    wide, _ = setups.propose_budget(VESSELS, CORES, [unet(32)])
    assert wide > seconds


def test_a_budget_is_proposed_where_none_is_given() -> None:
    words = ["dataset=synthetic", "dataset.counts=[60,12,12]", "dataset.picture_size=64"]
    plan = make_plan(words, time.perf_counter(), CORES)
    assert plan.words[0].startswith("budget=")
    assert "passes over 60 training pictures" in plan.choices[0].why
    assert plan.machine == "cpu, made up"
    assert "calibrate=true" not in plan.words  # 12 validation pictures


def test_drawn_pictures_keep_their_size() -> None:
    words = ["dataset=synthetic", "dataset.counts=[60,20,12]", "dataset.size=96", "budget=60s"]
    assert "dataset.picture_size=96" in make_plan(words, time.perf_counter(), CORES).words
    chosen = [word for word in make_plan([*words[:2], *words[3:]], time.perf_counter(), CORES).words if "size=" in word]
    assert "dataset.picture_size=128" in chosen  # whatever the network sees
    given = make_plan([*words, "dataset.picture_size=80"], time.perf_counter(), CORES).words
    assert not any("picture_size" in word for word in given)


def test_a_threshold_that_is_given_is_not_chosen() -> None:
    words = ["dataset=synthetic", "dataset.counts=[60,20,12]", "dataset.picture_size=64", "budget=60s"]
    assert "calibrate=true" in make_plan(words, time.perf_counter(), CORES).words
    assert "calibrate=true" not in make_plan([*words, "model.threshold=0.4"], time.perf_counter(), CORES).words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["budget=2s"],
            r"budget=2s is too short for a plan, which took .* on 64.64 pixels.* In budget=\d+s it sees",
        ),
        (["budget=1m", "model=vgg_classifier"], "recipe=auto plans trainings on masks, and VGGClassifier gives more"),
        (["budget=1m", "dataset.empty_fraction=1"], "the 60 training masks are all empty, so crack cannot be learnt"),
    ],
)
def test_what_cannot_be_planned_is_told(words: list[str], said: str) -> None:
    drawn = ["dataset=synthetic", "dataset.counts=[60,12,12]", "dataset.picture_size=64"]
    machine = MadeUp(1e-4) if "budget=2s" in words else None
    with pytest.raises(ValueError, match=said):
        make_plan([*drawn, *words], time.perf_counter(), machine)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.max_epochs=3"], "trainer.max_epochs=3 sets a length, and recipe=auto plans for a time: say budget="),
        (["budget=1m", "loss=presence"], "recipe=auto plans trainings on masks, and loss=presence is of presence"),
        (["experiment=own_class"], "experiment=own_class has decided what recipe=auto would choose: leave out one"),
    ],
)
def test_words_that_no_plan_goes_with_are_told_first(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_planned(compose(*words, "run_dir=x", config="plan"))


def test_a_plan_says_what_the_numbers_in_masks_are(tmp_path: Path) -> None:
    fill(tmp_path, 20, mask=np.array([[0, 1, 2, 2]] * 6, np.uint8).repeat(2, 1))
    with pytest.raises(ValueError, match=r"(?s)20 .*dataset\.classes=\[background,class1,class2\]"):
        make_plan(["dataset=folder", f"dataset.root={tmp_path}", "budget=1m"], time.perf_counter(), CORES)


@pytest.mark.parametrize("late", [0, 10])
def test_the_budget_that_would_do_is_longer_than_planning(late: float) -> None:
    """Planning that took longer than the budget counts with what a training takes."""
    drawn = ["dataset=synthetic", "dataset.counts=[60,12,12]", "dataset.picture_size=64", "budget=2s"]
    with pytest.raises(ValueError, match="too short") as error:
        make_plan(drawn, time.perf_counter() - late, MadeUp(1e-4))
    found = re.search(r"budget=(\d+)s it sees", str(error.value))
    assert found is not None
    assert 15 + late < int(found[1]) < 120 + late


def test_the_table_of_the_docs_is_what_the_rules_choose() -> None:
    page = Path(__file__).parents[1] / "docs" / "explanation" / "planning.md"
    assert TABLE["table"]() in page.read_text()
