"""Every optimiser of conf/optimizer trains a U-Net; every schedule of conf/scheduler is checked by hand."""

import io
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.optim import Optimizer

from segkit.losses import BCE
from segkit.models.unet import UNet
from segkit.tasks.segmentation import SegmentationTask
from segkit.training.schedules import cosine_with_warmup

CONF = Path(__file__).parents[1] / "conf"
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("*.yaml"))
LR, STEPS = 0.1, 1000


def part(group: str, name: str) -> Any:
    """A file of a group, with the values it takes from the rest of a run's config."""
    run = {"optimizer": {"lr": LR}, "monitor": "val/iou", "monitor_mode": "max"}
    if group == "optimizer":
        run = {}
    run[group] = OmegaConf.load(CONF / group / f"{name}.yaml")
    return instantiate(OmegaConf.create(run)[group], _convert_="all")


def build(name: str, optimizer: Optimizer) -> Any:
    """The schedule as a task builds it: `total_steps` only for those that ask for it."""
    config = part("scheduler", name)
    total = {"total_steps": STEPS} if name in ("cosine", "one_cycle") else {}
    return config["scheduler"](optimizer, **total)


def optimizer_of_one_weight(lr: float = LR) -> Optimizer:
    return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(optimizer: Optimizer, scheduler: Any, steps: int, scores: list[float] | None = None) -> list[float]:
    """The rate each of the next steps trains with; `scores` are what a plateau is judged by."""
    seen = []
    for step in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([scores[step]] if scores else []))
    return seen


def test_the_files_are_found() -> None:
    assert len(OPTIMIZERS) >= 13
    assert SCHEDULERS == [
        "constant",
        "cosine",
        "cyclic",
        "exponential",
        "multi_step",
        "one_cycle",
        "plateau",
        "step",
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name: str) -> None:
    torch.manual_seed(0)
    task = SegmentationTask(UNet(1, widths=[4, 8]), ["disc"], loss=BCE(), optimizer=part("optimizer", name))
    image = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    mask = (image.float().mean(1) > 127).long()
    optimizer = task.configure_optimizers()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.losses(task.detect(image), mask)["loss"]
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(4 if name == "lbfgs" else 8)]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["SparseAdam", "Muon"])
def test_what_is_not_offered_cannot_train_a_unet(name: str) -> None:
    """Should a release of torch lift this, conf/optimizer gets a file."""
    net = UNet(1, widths=[2, 4])
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    with pytest.raises((ValueError, RuntimeError), match=r"2D parameters|dense gradients"):
        getattr(torch.optim, name)(net.parameters()).step()


def test_every_optimizer_of_torch_is_offered() -> None:
    classes = {OmegaConf.load(CONF / "optimizer" / f"{name}.yaml")._target_.split(".")[-1] for name in OPTIMIZERS}
    known = {name for name, value in vars(torch.optim).items() if isinstance(value, type)}
    assert known - classes == {"Optimizer", "SparseAdam", "Muon"}


def test_constant() -> None:
    assert part("scheduler", "constant")["scheduler"] is None


def test_the_units_of_the_schedules() -> None:
    by_step = [name for name in SCHEDULERS if part("scheduler", name)["interval"] == "step"]
    assert by_step == ["cosine", "cyclic", "one_cycle"]
    assert [part("scheduler", name)["interval"] for name in SCHEDULERS if name not in by_step] == ["epoch"] * 5
    assert part("scheduler", "plateau")["monitor"] == "val/iou"


def test_multi_step_is_the_thesis() -> None:
    optimizer = optimizer_of_one_weight(1e-2)
    expected = [1e-2] * 2 + [1e-3] * 30 + [1e-4] * 16 + [1e-5] * 16
    assert rates(optimizer, build("multi_step", optimizer), 64) == pytest.approx(expected)


def test_step() -> None:
    optimizer = optimizer_of_one_weight()
    assert rates(optimizer, build("step", optimizer), 50) == pytest.approx([0.1] * 20 + [0.01] * 20 + [0.001] * 10)


def test_exponential() -> None:
    optimizer = optimizer_of_one_weight()
    expected = [0.1, 0.095, 0.09025, 0.0857375]
    assert rates(optimizer, build("exponential", optimizer), 4) == pytest.approx(expected)


def test_cyclic_is_a_triangle() -> None:
    optimizer = optimizer_of_one_weight()
    seen = rates(optimizer, build("cyclic", optimizer), 801)
    half = (1e-5 + LR) / 2
    corners = {0: 1e-5, 100: half, 200: LR, 300: half, 400: 1e-5, 600: LR, 800: 1e-5}
    assert {step: seen[step] for step in corners} == pytest.approx(corners)
    slopes = [abs(after - before) for before, after in pairwise(seen)]
    assert slopes == pytest.approx([(LR - 1e-5) / 200] * 800)


def test_cosine() -> None:
    optimizer = optimizer_of_one_weight()
    seen = rates(optimizer, build("cosine", optimizer), STEPS + 2)
    # 5 % of 1000 steps rise, 950 fall: a third of the way down ½(1 + ½), half way ½, at the end 0.
    expected = {0: 0.002, 24: 0.05, 49: 0.1, 50: 0.1, 525: 0.05, 1000: 0.0, 1001: 0.0}
    assert {step: seen[step] for step in expected} == pytest.approx(expected)
    optimizer = optimizer_of_one_weight()
    seen = rates(optimizer, cosine_with_warmup(optimizer, total_steps=6, warmup=0.0), 6)
    root = math.sqrt(3) / 2
    assert seen == pytest.approx([0.05 * (1 + cosine) for cosine in (1, root, 0.5, 0, -0.5, -root)])


@pytest.mark.parametrize("total", [1, 2, 3])
def test_cosine_of_very_short_runs_still_trains(total: int) -> None:
    optimizer = optimizer_of_one_weight()
    assert min(rates(optimizer, cosine_with_warmup(optimizer, total, warmup=0.9), total)) > 0


def test_cosine_refuses_what_is_no_share() -> None:
    with pytest.raises(ValueError, match=r"got total_steps 10 and warmup 5, .* 0 <= warmup < 1"):
        cosine_with_warmup(optimizer_of_one_weight(), 10, warmup=5)
    with pytest.raises(ValueError, match=r"got total_steps 0"):
        cosine_with_warmup(optimizer_of_one_weight(), 0)


def test_one_cycle() -> None:
    optimizer = optimizer_of_one_weight()
    seen = rates(optimizer, build("one_cycle", optimizer), STEPS - 1)
    # From 0.1/25 up to 0.1 in 30 % of the steps, the last of which is 0.3·1000 − 1.
    assert (seen[0], seen[299]) == pytest.approx((0.004, 0.1))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.004 / 1e4)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_plateau_waits_for_five_epochs_without_a_better_score() -> None:
    optimizer = optimizer_of_one_weight()
    scores = [0.5, 0.6] + [0.55] * 8  # best in epoch 1; 2 to 6 are forgiven, after 7 the rate falls
    seen = rates(optimizer, build("plateau", optimizer), 10, scores)
    assert seen == pytest.approx([0.1] * 8 + [0.01] * 2)


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "constant"])
def test_a_schedule_goes_on_from_a_checkpoint(name: str) -> None:
    scores = [0.5] * 60 if name == "plateau" else None
    optimizer = optimizer_of_one_weight()
    whole = rates(optimizer, build(name, optimizer), 60, scores)

    optimizer = optimizer_of_one_weight()
    scheduler = build(name, optimizer)
    start = rates(optimizer, scheduler, 23, scores)
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    optimizer_state, scheduler_state = torch.load(file, weights_only=True)

    optimizer = optimizer_of_one_weight()
    scheduler = build(name, optimizer)
    optimizer.load_state_dict(optimizer_state)
    scheduler.load_state_dict(scheduler_state)
    assert start + rates(optimizer, scheduler, 37, scores) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "constant"])
def test_every_schedule_drives_every_optimizer(name: str, optimizer_name: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = part("optimizer", optimizer_name)([weight])
    scheduler = build(name, optimizer)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight - 1).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    scheduler.step(*([0.5] if name == "plateau" else []))
    assert optimizer.param_groups[0]["lr"] > 0
