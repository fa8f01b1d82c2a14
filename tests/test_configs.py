"""Every file in conf/ composes and builds; what follows from the data set; configs and classes of one's own."""

import math
import os
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import TINY, composed, segkit, write_pair
from miniatures import write_pets, write_products
from omegaconf import OmegaConf
from torch import nn

from segkit import config_dir, hardware
from segkit.choices.listing import find_choices
from segkit.configs.composing import compose, expand_home, find_classes, to_plain
from segkit.configs.identity import config_hash, move_paths
from segkit.configs.settings import check_settings
from segkit.runs.build import build, build_data
from segkit.runs.making import make

GROUPS = ("dataset", "model", "loss", "optimizer", "scheduler", "augment", "trainer", "callbacks", "logger")
ROOT = Path(__file__).parents[1]


def options(group: str) -> list[str]:
    return [*find_choices([config_dir()], group)]


def write_ph2(root: Path) -> None:
    for number in range(8):
        case = root / "PH2 Dataset images" / f"IMD{number:03}"
        write_pair(case / f"IMD{number:03}_Dermoscopic_Image", root / "spare", f"IMD{number:03}", number, suffix=".bmp")
        (case / f"IMD{number:03}_lesion").mkdir()
        mask = root / "spare" / f"IMD{number:03}.bmp"
        mask.rename(case / f"IMD{number:03}_lesion" / f"IMD{number:03}_lesion.bmp")


def write_camvid(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        write_pair(root / split / "images", root / split / "masks", "a", {"train": 1, "val": 2, "test": 3}[split])
        cv2.imwrite(str(root / split / "masks" / "a.png"), rng.integers(0, 12, (40, 48), dtype=np.uint8))


def write_splits(root: Path, *splits: str, size: tuple[int, int] = (40, 48)) -> None:
    for number, split in enumerate(splits):
        for stem in range(12):
            write_pair(root / split / "images", root / split / "masks", f"p{stem}", 100 * number + stem, size)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A miniature in its real layout for every data set that has files."""
    base = tmp_path_factory.mktemp("roots")
    write_ph2(base / "ph2")
    write_camvid(base / "camvid")
    write_splits(base / "crack", "train", "valid", size=(448, 448))
    write_splits(base / "deepcrack", "train", "val", "test")
    for number in range(10):
        write_pair(base / "folder" / "images", base / "folder" / "masks", f"p{number}", number)
        mask = base / "folder" / "masks" / f"p{number}.png"
        mask.rename(mask.with_name(f"p{number}_mask.png"))
    write_pets(base / "pets")
    if find_spec("datasets") is not None:
        write_products(base / "product_masks")
    return {path.name: path for path in base.iterdir()}


def root_of(choice: str, roots: dict[str, Path]) -> list[str]:
    if choice not in roots:
        root = composed(f"dataset={choice}").dataset
        assert not OmegaConf.is_missing(root, "root"), f"write a miniature of dataset={choice} in the fixture `roots`"
        return []
    if choice == "product_masks" and find_spec("datasets") is None:
        pytest.skip("pip install 'segkit[datasets]'")
    suffix = ["dataset.mask_suffix=_mask"] if choice == "folder" else []
    return [f"dataset.root={roots[choice]}", *suffix]


def plain(*words: str) -> dict[str, Any]:
    cfg = compose(*words)
    find_classes(cfg)
    return to_plain(cfg)


def test_there_is_something_to_choose_in_every_group() -> None:
    assert all(len(options(group)) >= 3 for group in (*GROUPS, "experiment"))
    assert options("ablation")


@pytest.mark.parametrize("choice", options("dataset"))
def test_every_data_set_builds_and_gives_samples_of_the_contract(choice: str, roots: dict[str, Path]) -> None:
    config = plain(f"dataset={choice}", *root_of(choice, roots))
    data = build_data(config)
    for split, source in data.sources.items():
        sample = source[0]
        assert sample["image"].dtype == sample["mask"].dtype == torch.uint8
        assert sample["image"].shape == (3, *sample["mask"].shape) == (3, *source.shape(0))
        assert sample["name"] == source.names[0]
        assert len(source.names) == len(source), split
        assert set(sample["mask"].unique().tolist()) <= {*range(max(2, len(source.classes))), 255}
    assert config["channels"] == (1 if len(config["dataset"]["classes"]) == 1 else len(config["dataset"]["classes"]))


@pytest.mark.parametrize(
    ("group", "choice"),
    [(group, choice) for group in GROUPS if group not in ("dataset", "model") for choice in options(group)],
)
def test_every_choice_composes_and_builds(
    group: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    name = f"{group}=[{choice}]" if group in ("callbacks", "logger") else f"{group}={choice}"
    config = to_plain(compose(name, f"run_dir={tmp_path}"))
    entries = config[group].values() if group in ("callbacks", "logger") else [config[group]]
    for entry in entries:
        if group == "scheduler":
            entry = entry["scheduler"]
        if choice in ("wandb", "mlflow") and find_spec(choice) is None:
            with pytest.raises(ModuleNotFoundError, match=choice):
                make(entry)
        elif choice in ("gpu", "ddp"):
            assert entry["_target_"] == "lightning.Trainer"  # this machine may have no GPU
        elif entry is not None:
            assert make(entry) is not None


@pytest.mark.slow
@pytest.mark.parametrize("choice", options("experiment"))
def test_every_experiment_composes_and_builds(choice: str, roots: dict[str, Path], tmp_path: Path) -> None:
    cfg = composed(f"experiment={choice}").copy()
    header = (config_dir() / "experiment" / f"{choice}.yaml").read_text()
    weights = ["weights=none"] if str(cfg.weights) == "imagenet" else []  # a download
    cfg.merge_with_dotlist([*root_of(cfg.choices.dataset, roots), *weights, f"run_dir={tmp_path}"])
    find_classes(cfg)
    config = to_plain(cfg)
    run = build(config)
    assert config["name"] == choice
    assert run.trainer.max_epochs == config["dataset"]["epochs"]
    assert f"python -m segkit.train experiment={choice}" in header


@pytest.mark.parametrize("choice", options("ablation"))
def test_every_ablation_is_a_sweep_over_choices_that_exist(choice: str, tmp_path: Path) -> None:
    cfg = compose(f"ablation={choice}")
    assert cfg.name == choice
    text = (config_dir() / "ablation" / f"{choice}.yaml").read_text()
    assert "mode: MULTIRUN" in text
    swept = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    files = {path.stem for path in (config_dir() / "experiment").glob("*.yaml")}
    experiments = re.findall(r"\w+", swept.pop("experiment"))
    assert set(experiments) <= files
    assert swept.pop("seed") == "0,1,2"
    for key, values in swept.items():
        for value in values.split(","):
            compose(f"ablation={choice}", f"experiment={experiments[0]}", f"{key}={value}")
    check_settings(compose(f"ablation={choice}", f"experiment={experiments[0]}", f"dataset.root={tmp_path}"), "train")


@pytest.mark.parametrize("hypothesis", ["", ",product_masks_cropped_recipe", ",product_masks_augmented_recipe"])
def test_the_product_masks_have_three_hypotheses(hypothesis: str) -> None:
    cfg = compose(f"experiment=[product_masks_levels{hypothesis}]")
    assert cfg.dataset.crop == bool(hypothesis)
    assert cfg.augment.get("transforms") is None or hypothesis.endswith("augmented_recipe")
    products = to_plain(compose("augment=products").augment)
    assert (to_plain(cfg.augment) == products) == hypothesis.endswith("augmented_recipe")
    text = (config_dir() / "ablation" / "product_masks.yaml").read_text()
    assert f"[product_masks_levels{hypothesis}]" in text


OWN = {"camvid", "crack_unet", "deepcrack_best", "deepcrack_unet", "own_class", "ph2_lite0", "ph2_lite0_scratch"}
OWN |= {"ph2_mobilenet", "ph2_mobilenet_frozen", "ph2_mobilenet_scratch", "ph2_mobilenet_thawed", "synthetic_cracks"}


@pytest.mark.parametrize("choice", options("experiment"))
def test_an_experiment_of_a_source_says_in_what_it_departs(choice: str) -> None:
    cfg = composed(f"experiment={choice}")
    assert (choice in OWN) == (cfg.departs is None)
    assert cfg.published is None or cfg.departs


@pytest.mark.parametrize("loss", ["bce", "dice", "focal"])
@pytest.mark.parametrize("model", ["unet", "segnet"])
def test_the_exact_ph2_experiments_are_as_published(model: str, loss: str) -> None:
    cfg = compose(f"experiment=ph2_published_{model}_{loss}")
    assert cfg.model.net.width == {"unet": 8, "segnet": 64}[model]
    assert (cfg.monitor, cfg.trainer.max_epochs, cfg.dataset.batch_size, cfg.optimizer.lr) == ("epoch", 120, 10, 1e-3)
    assert to_plain(cfg.augment) == to_plain(compose("augment=none").augment)
    assert cfg.model.threshold == pytest.approx(1 / (1 + math.exp(-0.01)), abs=1e-5)
    exact = {
        "bce": cfg.loss.get("reduction") == "sum",
        "dice": (cfg.loss.get("pool"), cfg.loss.get("smooth")) == ("batch", 1e-8),
        "focal": (cfg.loss.get("reduction"), cfg.loss.get("background_modulated")) == ("sum", False),
    }
    assert exact[loss]


def test_channels_and_metric_mode_follow() -> None:
    assert compose("dataset=synthetic").channels == 1
    assert compose("dataset=synthetic_shapes").channels == len(compose("dataset=synthetic_shapes").dataset.classes) > 1
    assert compose("dataset=camvid").model.net.out_channels == 11
    assert compose("monitor=val/loss").callbacks.best.mode == "min"
    assert compose("monitor=val/score").callbacks.best.mode == "max"


def test_config_hash_tells_what_changes_the_result() -> None:
    config = to_plain(compose())
    assert config_hash(config) == config_hash(to_plain(compose("name=other", "logger=[csv]", "run_dir=/elsewhere/run")))
    for setting in ({"passes": 1}, {"download": "elsewhere"}, {"workers": 3}, {"cache": "off"}, {"groups": None}):
        assert config_hash(config) == config_hash(config | {"dataset": config["dataset"] | setting})
    assert config_hash(config) != config_hash(config | {"dataset": config["dataset"] | {"passes": 2}})
    assert config_hash(config) != config_hash(to_plain(compose("seed=1")))
    assert config_hash(config) != config_hash(to_plain(compose("optimizer.lr=0.01")))
    found = [
        config_hash(to_plain(compose("lr_find=true", *words)))
        for words in (["scheduler=one_cycle"], ["scheduler=one_cycle", "optimizer.lr=0.2"], ["scheduler=step"])
    ]
    assert found[0] == found[1] != found[2]


def test_paths_are_rebased_whole() -> None:
    node = {"a": "/data/exp/x", "b": ["/data/exp"], "root": "/data/exp_pictures", "/data/exp/best.ckpt": 1}
    assert move_paths(node, "/data/exp", "/tmp/e") == {
        "a": "/tmp/e/x",
        "b": ["/tmp/e"],
        "root": "/data/exp_pictures",
        "/tmp/e/best.ckpt": 1,
    }


@pytest.mark.parametrize(
    ("setting", "bfloat16", "expected"),
    [("auto", True, "bf16-mixed"), ("auto", False, "32-true"), ("16-mixed", False, "16-mixed")],
)
def test_precision_auto_goes_by_the_hardware(
    monkeypatch: pytest.MonkeyPatch, setting: str, bfloat16: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bfloat16}, raising=False)
    assert hardware.precision({"precision": setting, "trainer": {"accelerator": "auto"}}) == expected


def test_console_command(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "segkit")]

    def say(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    from segkit import __version__

    assert say("--version").stdout.strip() == __version__
    models = say("list", "models").stdout
    assert all(name in models for name in options("model"))
    assert "7.76 M parameters" in models
    assert "loading" not in say("list", "datasets").stdout
    assert "crack_recipe" not in say("list", "experiments").stdout
    assert "\ntask" not in models
    bad = say("list", "modells")
    assert bad.returncode == 2
    assert "expected one of models" in bad.stderr
    assert say("trian").returncode == 2
    job = say("train", "model=unet", "--cfg", "job")
    assert "widths:" in job.stdout
    assert list(tmp_path.iterdir()) == []


def test_wheel_carries_the_configs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    wheel = next(tmp_path.glob("*.whl"))
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "work").mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    where = subprocess.run(
        [sys.executable, "-c", "import segkit; print(segkit.__file__)"],
        cwd=tmp_path / "work",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path / "site") in where.stdout
    done = segkit(*TINY, "trainer.max_epochs=1", cwd=tmp_path / "work", env=environment, alone=True)
    assert done.returncode == 0, done.stderr
    listed = segkit("list", "models", cwd=tmp_path / "work", module="__main__", env=environment, alone=True)
    assert "7.76 M" in listed.stdout


def test_no_network_keeps_state_outside_the_checkpoint() -> None:
    """What a checkpoint must carry is in the network: a loss has settings, which its config restores."""
    for choice in options("loss"):
        loss = make(to_plain(compose(f"loss={choice}"))["loss"])
        assert isinstance(loss, nn.Module)
        assert loss.state_dict() == {}


@pytest.mark.parametrize("path", sorted((config_dir() / "augment").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_augmentation_says_whether_pictures_stay_upright(path: Path) -> None:
    settings = compose(f"augment={path.stem}").augment
    turned = bool(settings.get("vertical") or settings.get("turns"))
    words = " ".join(path.read_text().split()).replace("# ", "")
    assert ("turns pictures upside down" in words) == turned
    assert (re.search("keeps (pictures|them) upright", words) is None) == turned
    row = next(
        line
        for line in (ROOT / "docs" / "how-to" / "choose-an-augmentation.md").read_text().splitlines()
        if f"`{path.stem}`" in line and line.endswith(("yes |", "no |"))
    )
    assert row.endswith("| no |" if turned else "| yes |")


def test_one_measure_chooses_the_epoch_and_is_compared() -> None:
    assert compose().monitor == "val/iou_image"
    assert compose("dataset=synthetic_shapes", "loss=ce").monitor == "val/iou_image"
    assert compose("model=unet_classifier", "loss=joint").monitor == "val/iou_image"


@pytest.mark.parametrize("choice", options("loss"))
def test_choosing_a_loss_changes_the_loss_and_nothing_else(choice: str) -> None:
    mine, usual = (to_plain(compose(f"loss={name}", "run_dir=x")) for name in (choice, "dice"))
    for config in (mine, usual):
        config.update(loss=None, choices=None, overrides=None)
    assert mine == usual


def test_a_file_of_a_group_is_shared_or_a_choice_of_its_own() -> None:
    shared = {path.stem for group in GROUPS for path in (config_dir() / group).glob("*.yaml")} - {
        name for group in GROUPS for name in options(group)
    }
    assert shared == {"loading", "task"}
    for path in (config_dir() / "experiment").glob("*.yaml"):  # those of an experiment have no name to go by
        assert (path.stem in options("experiment")) == ("\nname: " in path.read_text())


@pytest.mark.parametrize(
    ("experiment", "monitor"),
    [
        ("camvid", "val/iou"),
        ("crack_unet", "val/iou"),
        ("deepcrack_unet", "val/iou"),
        ("deepcrack_best", "val/iou"),
        ("synthetic_cracks", "val/iou"),
        ("pets_mobilenet", "val/iou"),
        ("ph2_lite0", "val/iou"),
        ("ph2_lite0_scratch", "val/iou"),
        ("ph2_mobilenet", "val/iou"),
        ("ph2_mobilenet_frozen", "val/iou"),
        ("slices", "val/iou"),
        ("crack_segmentation", "val/loss"),
        ("crack_segmentation_small", "val/loss"),
        ("crack_presence", "val/loss"),
        ("crack_presence_small", "val/loss"),
        ("crack_joint", "val/loss"),
        ("crack_joint_small", "val/loss"),
        ("ph2_unet_dice", "val/score"),
    ],
)
def test_measured_experiments_choose_by_what_they_were_measured_with(experiment: str, monitor: str) -> None:
    assert compose(f"experiment={experiment}").monitor == monitor


@pytest.mark.parametrize(
    ("word", "home", "expected"),
    [
        ("output=~/x", "/home/me", "output=/home/me/x"),
        ("+dataset.root='~/my data'", "/home/me", "+dataset.root='/home/me/my data'"),
        ("runs=[~/a,'~/b c']", "/home/me", "runs=[/home/me/a,'/home/me/b c']"),
        ("hydra.run.dir=~", "/home/me", "hydra.run.dir=/home/me"),
        ("output=~/x", "/home/für mich", "output='/home/für mich/x'"),
        ("~optimizer.lr", "/home/me", "~optimizer.lr"),
        ("output=a~/x", "/home/me", "output=a~/x"),
    ],
)
def test_the_home_folder_in_words(monkeypatch: pytest.MonkeyPatch, word: str, home: str, expected: str) -> None:
    monkeypatch.setenv("HOME", home)
    assert expand_home(word) == expected
