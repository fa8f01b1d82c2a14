"""What makes runs fast and says what they wait for."""

import resource
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, segkit, weights
from torch import nn

from segkit.choices.listing import verbs
from segkit.configs.composing import compose, to_plain
from segkit.metrics.masks import SegmentationMetrics
from segkit.models.blocks import fold_batch_norm
from segkit.runs.build import build, build_data
from segkit.runs.making import make
from segkit.tasks.segmentation import SegmentationTask
from segkit.train import train
from segkit.training import profiling
from segkit.training.profiling import DataWaitProfiler, format_profile, suggest_speedup


def with_statistics(net: nn.Module) -> nn.Module:
    """Batch norms as after a training: with means, variances, factors and offsets of their own."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                assert tensor is not None
                tensor.data.copy_(torch.randn(tensor.shape, generator=generator) / 4)
            for tensor in (module.running_var, module.weight):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return net.eval()


def pairs(net: nn.Module) -> int:
    """How many batch norms follow a convolution in a chain."""
    chains = [list(module) for module in net.modules() if isinstance(module, nn.Sequential)]
    return sum(
        isinstance(norm, nn.BatchNorm2d) and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        for chain in chains
        for layer, norm in pairwise(chain)
    )


FOLDED = {"unet": 10, "unet_bilinear": 6, "segnet": 11, "unet_classifier": 10, "vgg_classifier": 6, "unet_levels": 0}


@pytest.mark.parametrize("model", FOLDED)
def test_folded_batch_norm_gives_the_same(model: str) -> None:
    words = ["model.net.widths=[4,8,16]"] if model not in ("unet_levels", "segnet") else []
    net = with_statistics(make(to_plain(compose(f"model={model}", *words, "run_dir=x"))["model"]["net"]))
    image = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        expected = net(image)
        before = pairs(net)
        fold_batch_norm(net)
        got = net(image)
    assert (before, pairs(net)) == (FOLDED[model], 0)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_only_a_norm_right_after_a_convolution_is_folded() -> None:
    layers = [nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 2, 2, 2), nn.BatchNorm2d(2)]
    net = with_statistics(nn.Sequential(*layers))
    image = torch.randn(1, 3, 5, 5)
    expected = net(image)
    fold_batch_norm(net)
    kinds = [type(layer).__name__ for layer in net.children()]
    assert kinds == ["Conv2d", "ReLU", "BatchNorm2d", "ConvTranspose2d", "Identity"]
    torch.testing.assert_close(net(image), expected)


def test_profile_adds_up_what_steps_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *(second for step in range(6) for second in (step + 0.25, step + 1.0))])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    task = type("Task", (), {"device": torch.device("cpu")})()
    trainer: Any = None
    waiting = DataWaitProfiler()  # which leaves the first three steps out
    waiting.on_train_epoch_start(trainer, task)
    for step in range(6):
        waiting.on_train_batch_start(trainer, task, None, step)
        waiting.on_train_batch_end(trainer, task, None, None, step)
    assert waiting.steps == 3
    assert waiting.share == pytest.approx(0.25)
    said = format_profile(waiting.data, waiting.device, waiting.steps, "nothing")
    assert said == "profile: of 1000.0 ms a step, waiting for data 25%, for the device 75%; nothing"


@pytest.mark.parametrize(
    ("share", "device", "words", "said"),
    [
        (0.5, "cuda", ("dataset.cache=off",), "dataset.cache=disk"),
        (0.5, "cuda", ("augment=light",), "augment=light_device"),
        (0.5, "cpu", ("dataset.workers=0",), "dataset.workers=3"),
        (0.5, "cpu", ("dataset.workers=3",), "a simpler augment"),
        (0.01, "cuda", (), "the device is the bottleneck"),
        (0.01, "cpu", (), "the network is the bottleneck"),
    ],
)
def test_profile_says_what_to_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch, share: float, device: str, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(profiling, "cores", lambda: 4)
    data = build_data(
        to_plain(compose("dataset=folder", f"dataset.root={folder}", "dataset.cache=ram", *words, "run_dir=x"))
    )
    assert said in suggest_speedup(share, data, device)


def test_profile_ends_a_run_with_one_sentence(tmp_path: Path) -> None:
    train(compose(*TINY, "profile=true", f"run_dir={tmp_path}/run"))
    log = (tmp_path / "run" / "train.log").read_text()
    said = [line for line in log.splitlines() if "profile:" in line]
    assert len(said) == 1
    assert "waiting for data" in said[0]


def test_compile_without_a_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    train(compose(*TINY, "compile=true", "trainer.accelerator=cpu", f"run_dir={tmp_path}/run"))
    assert "torch.compile needs a C++ compiler" in (tmp_path / "run" / "train.log").read_text()


def test_compile_trains_and_leaves_the_names_of_the_weights(tmp_path: Path) -> None:
    if missing := profiling.missing_for_compile("cpu"):
        pytest.skip(f"torch.compile needs {missing}")
    compiled = []
    compile_it = nn.Module.compile

    def noted(net: nn.Module) -> None:
        compiled.append(net)
        compile_it(net, backend="eager")

    words = [*TINY, "compile=true", "trainer.accelerator=cpu", "trainer.max_epochs=1", f"run_dir={tmp_path}/run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "compile", noted)
        train(compose(*words))
    assert len(compiled) == 1
    assert not any("_orig_mod" in key for key in weights(tmp_path / "run"))


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 4, 1), type("Activated", (nn.BatchNorm2d,), {})(4)],  # as timm's, which ends in a ReLU
        [nn.ConvTranspose2d(4, 4, 2, 2, groups=2), nn.BatchNorm2d(4)],
        [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)],
    ],
)
def test_what_is_more_than_a_factor_and_an_offset_stays(layers: list[Any]) -> None:
    net = nn.Sequential(*layers).eval()
    fold_batch_norm(net)
    assert list(net) == layers


def test_a_batch_reaches_the_device_in_uint8_and_is_normalised_there() -> None:
    """On the meta device, which computes nothing and refuses to mix with the CPU: what a GPU would be given."""
    run = build(to_plain(compose(*TINY, "augment=light_device", "trainer.accelerator=cpu", "run_dir=x")))
    batch = next(iter(run.data.train_dataloader()))
    assert batch["image"].dtype == batch["mask"].dtype == torch.uint8
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    moved = run.data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    moved = run.data.on_after_batch_transfer(moved, 0)
    task = run.task.to("meta")
    assert moved["image"].device.type == "meta"
    assert moved["image"].dtype == torch.uint8
    assert isinstance(task, SegmentationTask)
    out = task.detect(moved["image"])
    assert out.masks is not None
    assert out.masks.device.type == "meta"
    pixels = task.normalise(moved["image"])
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert task.loss is not None
    task.loss(out.masks, moved["mask"].long()).backward()
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in task.net.parameters() if p.requires_grad)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"torch finds no GPU on this machine. Say trainer=auto or trainer=cpu"):
        build(to_plain(compose(*TINY, "trainer=gpu", f"run_dir={tmp_path}")))


def test_a_step_waits_for_nothing_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the meta device have no values: whoever asks for one fails."""
    run = build(to_plain(compose(*TINY, "loss=bce_dice", "trainer.accelerator=cpu", "run_dir=x")))
    batch = run.data.transfer_batch_to_device(next(iter(run.data.train_dataloader())), torch.device("meta"), 0)
    task = run.task.to("meta")
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which does not know that device
    monkeypatch.setattr(SegmentationTask, "global_step", 1)  # not one of those at which NaN is looked for
    with pytest.warns(UserWarning, match=r"self.trainer` reference is not registered"):
        loss = task.training_step(batch, 1)
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    task.eval()
    with torch.no_grad():
        task.validation_step(batch, 0)
    scores = task.scores("val").metrics["masks"]
    assert isinstance(scores, SegmentationMetrics)
    assert scores.rows[0].device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError)):
        task.losses(task.detect(batch["image"]), batch["mask"].long())["loss"].item()


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """What `--cfg job` and a misspelt option wait for."""
    heavy = ("torch", "lightning", "torchmetrics", "albumentations", "matplotlib", "cv2", "scipy", "tensorboard")
    light = (*verbs(), "configs.settings", "configs.refusals", "sweeps.summary", "__main__")
    modules = ", ".join(f"segkit.{name}" for name in light)
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_flips_do_not_wait_for_albumentations() -> None:
    code = (
        "import sys; from segkit.configs.composing import compose, to_plain; from segkit.runs.build import build_data;"
        "build_data(to_plain(compose('augment=flips', 'run_dir=x'))); print('albumentations' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [(("--cfg", "job"), 0, "max_epochs"), (("model=unett",), 1, "did you mean"), (("--help",), 0, "group=choice")],
)
def test_answers_that_need_no_torch_come_at_once(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    """In processor time, and generous; benchmarks/bench_start.py measures."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = segkit(*words, cwd=tmp_path, alone=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4
    assert answer.returncode == code
    assert said in answer.stdout + answer.stderr
