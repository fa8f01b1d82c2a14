"""What a stored config may build, and where it may write."""

import importlib
import inspect
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import composed
from omegaconf import OmegaConf

from segkit import config_dir
from segkit.choices.listing import find_choices
from segkit.configs.composing import compose, to_plain
from segkit.runs.checkpoint_io import check_paths
from segkit.runs.folder import open_run, resumed_config
from segkit.security import stored_configs
from segkit.security.built import TABLE, Built
from segkit.security.kinds import Origin

OUTSIDE = ("segkit.training.callbacks.Progress",)  # its arguments are a library's
# Given by segkit itself, or listed one by one.
GIVEN = {
    "self",
    "split",
    "optimizer",
    "total_steps",
    "classes",
    "loss",
    "scheduler",
    "interval",
    "monitor",
    "seed",
    "example_size",
    "facts",
    "unet",
    "options",
    "kwargs",
    "follow_links",
}


def choices(group: str) -> list[str]:
    return [*find_choices([config_dir()], group)]


def check(family: str, node: object, trust: tuple[str, ...] = (), folder: Path | None = None) -> None:
    Built(family).check(node, "it", Origin("file.yaml", trust, folder))


@pytest.mark.parametrize("choice", choices("experiment"))
def test_every_experiment_may_be_resumed(choice: str, tmp_path: Path) -> None:
    cfg = composed(f"experiment={choice}").copy()
    cfg.run_dir = str(tmp_path)
    if OmegaConf.is_missing(cfg.dataset, "root"):
        cfg.dataset.root = "/data"
    config = to_plain(cfg)
    if config["dataset"]["classes"] == "auto":
        config["dataset"]["classes"], config["channels"] = ["a", "b"], 2
        config["model"]["net"]["out_channels"] = 2
    stored_configs.check_stored(config, "config.yaml", [], tmp_path)


GROUPS = ("augment", "callbacks", "dataset", "loss", "model", "optimizer", "scheduler", "trainer")


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)])
def test_every_choice_may_be_stored(group: str, choice: str, tmp_path: Path) -> None:
    """A row for each class, with the kinds of its arguments: nothing that an untrusted file may build is guessed."""
    words = ["callbacks=[default]" if choice == "default" else f"callbacks=[default,{choice}]"]
    words = words if group == "callbacks" else [f"{group}={choice}"]
    if group == "dataset" and "root" in [*composed(*words).dataset]:
        words += ["dataset.root=/data"]
    cfg = compose(*words, f"run_dir={tmp_path}")
    if cfg.dataset.classes == "auto":
        cfg.dataset.classes = ["a", "b"]
    try:
        stored_configs.check_stored(to_plain(cfg), "config.yaml", [], tmp_path)
    except ValueError as error:
        pytest.fail(
            f"add to src/segkit/security/allowed.py what {words[0]} builds, and the kinds of its arguments: {error}"
        )


def test_the_table_has_every_argument_of_segkits_own_classes() -> None:
    """A setting added to a class but not to the table would make its runs unreadable without trust."""
    for family in TABLE.values():
        for name, arguments in family.items():
            module, _, attribute = name.rpartition(".")
            found = getattr(importlib.import_module(module), attribute)
            if name in OUTSIDE or not found.__module__.startswith("segkit."):
                continue
            wanted = set(inspect.signature(found).parameters) - GIVEN
            assert wanted <= set(arguments), (
                f"add to segkit.security.allowed, {name}: {sorted(wanted - set(arguments))}"
            )


def test_every_name_of_the_table_exists() -> None:
    for family in TABLE.values():
        for name in family:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


UNET = {"_target_": "segkit.models.unet.UNet", "out_channels": 1}
SMP = {"_target_": "segkit.models.encoders.Smp", "architecture": "Unet", "encoder": "resnet18", "out_channels": 1}


@pytest.mark.parametrize(
    ("family", "node", "message"),
    [
        ("network", UNET | {"widths": [4, 2**40]}, r"it\.widths\[1\] is 1099511627776; expected a whole number"),
        ("network", UNET | {"widths": [4, True]}, r"it\.widths\[1\] is True; expected a whole number"),
        ("network", UNET | {"widths": "48"}, r"it\.widths is '48'; expected a list"),
        ("network", UNET | {"_args_": [1]}, r"it\._args_ is not allowed in a stored config"),
        ("network", UNET | {"_partial_": True}, r"it\._partial_ is not allowed in a stored config"),
        ("network", UNET | {"_recursive_": False}, r"it\._recursive_ is not allowed in a stored config"),
        ("optimizer", {"_target_": "torch.optim.Adam", "_partial_": 1}, r"_partial_ is not allowed in a stored config"),
        (
            "network",
            UNET | {"device": "cuda"},
            r"it\.device is not among .*\(out_channels, widths, .*\)\. If the file is from",
        ),
        ("network", SMP | {"encoder": "hf_hub:evil/x"}, r"it\.encoder is 'hf_hub:evil/x'; expected .* no hub"),
        ("network", SMP | {"encoder": "../x"}, r"it\.encoder is '\.\./x'"),
        ("network", SMP | {"img_size": 2048}, r"it\.img_size is 2048; expected a whole number from 1 to 1024"),
        ("transform", {"_target_": "albumentations.CropAndPad", "px": [0, 9000]}, r"it\.px is \[0, 9000\]"),
        ("transform", {"_target_": "albumentations.RandomScale", "scale_limit": 50}, r"it\.scale_limit is 50"),
        ("transform", {"_target_": "albumentations.Affine", "fit_output": True}, r"it\.fit_output is True"),
        ("network", SMP | {"checkpoint_path": "evil.pth"}, r"it\.checkpoint_path is not among"),
        ("network", SMP | {"pretrained_cfg": {"url": "http://x"}}, r"it\.pretrained_cfg is not among"),
        ("network", SMP | {"encoder_weights": "imagenet"}, r"it\.encoder_weights is not among"),
        (
            "network",
            {"_target_": "segmentation_models_pytorch.Unet"},
            "is not a network that a stored config may build",
        ),
        ("network", {"_target_": ["os", "system"]}, r"it\._target_ is \['os', 'system'\]; expected a dotted name"),
        ("network", {"_target_": "segkit.models.unet.UNet\n"}, "expected a dotted name"),
        ("task", {"_target_": "torch.nn.Identity"}, "is not a task that"),
        ("loss", {"_target_": "segkit.losses.Joint", "mask": UNET}, r"it\.mask asks for .* is not a loss"),
        ("transform", {"_target_": "albumentations.Lambda"}, "is not a transform"),
        ("transform", {"_target_": "albumentations.TextImage", "font_path": "/etc/x"}, "is not a transform"),
        ("transform", {"_target_": "albumentations.Rotate", "limit": "/etc/x"}, r"it\.limit is '/etc/x'"),
        ("logger", {"_target_": "lightning.pytorch.loggers.WandbLogger"}, "is not a logger"),
        ("trainer", {"_target_": "lightning.Trainer", "plugins": []}, r"it\.plugins is not among"),
        ("trainer", {"_target_": "lightning.Trainer", "max_epochs": float("nan")}, r"it\.max_epochs is nan"),
        ("dataset", {"_target_": "segkit.datasets.folder.Folder", "groups": "(a+)+$"}, r"it\.groups is .*regular exp"),
        ("dataset", {"_target_": "segkit.datasets.pets.Pets", "download": "http://x"}, r"it\.download is"),
        ("dataset", {"_target_": "segkit.datasets.folder.Folder", "classes": [True]}, r"it\.classes\[0\] is True"),
    ],
)
def test_what_is_not_in_the_table_is_refused_by_its_key(family: str, node: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(family, node)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(.+?)_[0-9]+",
        r"(IMG_\d+)",
        r"([^/]+)/[^/]*$",
        "([^/-]+)[^/]*$",
        "[^/]+$",
        "([^/_]+)[^/]*$",
        r"^\w+-(\d{4})\.png$",
        r"(patient\d+)_slice\d+",
        "(DSC[0-9]{4})",
        None,
    ],
)
def test_plain_patterns_may_be_stored(pattern: str | None) -> None:
    check("dataset", {"_target_": "segkit.datasets.folder.Folder", "groups": pattern})


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?x)(\w+) +!",
        r"\w?" * 60 + "!",
        ".*.*.*.*!",
        "^.*.*.*!",
        ".*.*.*",
        "(a|a)(a|a)",
        "((a))",
        "(a",
        "a)",
        "(a)+",
        "(a){9}",
        "(?:a)",
        "(?=a)",
        "",
        "a" * 101,
        "a++",
        "(?P<x>a)",
        r"(a)\1",
        "[[a]]",
        "a*b*c*",
        r"\b",
        "a\n",
        3,
        ["a"],
    ],
)
def test_other_patterns_are_not_run(pattern: Any) -> None:
    with pytest.raises(ValueError, match=r"it\.groups is .*\+dataset\.groups="):
        check("dataset", {"_target_": "segkit.datasets.folder.Folder", "groups": pattern})


def test_a_pattern_of_the_persons_own_takes_the_stored_ones_place() -> None:
    stored_one = {"_target_": "segkit.datasets.folder.Folder", "root": "x", "groups": "(a|b)+"}
    assert stored_configs.merge_stored_dataset(stored_one, {"groups": "(a|b)"}, "file", [])["groups"] == "(a|b)"


def own(*words: str) -> None:
    stored_configs.check_own(to_plain(compose(*words, "run_dir=/tmp/x")))


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("+trainer.strategy=deepspeed_stage_2", "trainer.strategy"),
        ("+model.net.bottleneck_kernel=101", "bottleneck_kernel"),
        ("dataset.batch_size=900000", "dataset.batch_size"),
        ("dataset.counts=[300000,1,1]", "dataset.counts"),
    ],
)
def test_what_could_not_be_resumed_is_not_trained(word: str, key: str) -> None:
    with pytest.raises(ValueError, match=rf"{key} is .* could not be resumed|{key} is .*at most"):
        own(word)


@pytest.mark.parametrize(
    "words",
    [
        ["name=2024"],
        ["dataset.size=9000", "dataset.batch_size=1", "dataset.counts=[4,2,2]"],
        ["dataset.batch_size=10000"],
        ["dataset.split_seed=-1"],
        ["dataset=folder", "dataset.root=/x", "dataset.ignore_values=[300]"],
        ["dataset=folder", "dataset.root=/x", "dataset.groups='(a|b)+'"],
        ["logger=wandb"],
        ["logger=mlflow"],
        ["loss._target_=mine.Loss"],
        ["+callbacks.mine={_target_: mine.Callback, a: 1}"],
        ["+logger.tensorboard.max_queue=5"],
    ],
)
def test_honest_settings_may_be_trained_with(words: list[str]) -> None:
    own(*words)


@pytest.mark.parametrize("choice", choices("logger"))
def test_a_resumed_run_sends_nothing_unless_its_command_says_so(
    choice: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segkit.configs.settings.check_loggers", lambda config: None)  # some are not installed
    run = tmp_path / "run"
    run.mkdir()
    config = to_plain(compose(f"logger=[csv,{choice}]" if choice != "csv" else "logger=csv", f"run_dir={run}"))
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    kept = resumed_config(compose(f"resume={run}"), run)["logger"]
    sends = choice in ("wandb", "mlflow")
    assert set(kept) == ({"csv"} if sends else {"csv", choice})
    assert (f"{choice} would send" in caplog.text) == sends
    said = resumed_config(compose(f"resume={run}", f"logger={choice}"), run)["logger"]
    assert set(said) == {choice}
    assert "'run'" in str(said) or f"'{run}'" in str(said)  # its name, or where it is


@pytest.mark.parametrize("said", [[], ["trainer=ddp", "trainer.devices=2"], ["compile=true"], ["dataset.workers=9"]])
def test_a_stored_config_starts_no_processes_and_no_compiler(
    said: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["trainer=ddp", "trainer.devices=2", "+trainer.num_nodes=2", "compile=true", "dataset.workers=16"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_plain(compose(*words, f"run_dir={tmp_path}"))))
    config = resumed_config(compose(f"resume={tmp_path}", *said), tmp_path)
    ddp = "trainer=ddp" in said
    assert config["trainer"]["devices"] == 1 + ddp
    assert config["trainer"]["strategy"] == ("ddp_spawn" if ddp else "auto")
    assert config["trainer"]["num_nodes"] == 1
    assert config["compile"] == ("compile=true" in said)
    workers = min(16, len(os.sched_getaffinity(0)))
    assert config["dataset"]["workers"] == (9 if "dataset.workers=9" in said else workers)
    for word in ("trainer.devices=2", "trainer.num_nodes=2", "trainer.strategy=ddp_spawn", "compile=true"):
        taken = word in said or (ddp and word.startswith("trainer"))
        assert (word in caplog.text) != taken


def test_a_strangers_data_set_is_loaded_by_few_processes() -> None:
    dataset = {"_target_": "segkit.datasets.folder.Folder", "root": "x", "workers": 200}
    assert stored_configs.merge_stored_dataset(dataset, {}, "file", [])["workers"] <= len(os.sched_getaffinity(0))
    assert stored_configs.merge_stored_dataset(dataset, {"workers": 50}, "file", [])["workers"] == 50


def test_trust_widens_the_arguments_of_a_library(tmp_path: Path) -> None:
    logger = {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "save_dir": str(tmp_path), "max_queue": 5}
    with pytest.raises(ValueError, match=r"max_queue is not among .*trust=\[lightning\]"):
        check("logger", logger, folder=tmp_path)
    check("logger", logger, ("lightning",), tmp_path)


def test_trust_is_for_classes_that_a_module_itself_defines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_alone.py").write_text(
        "import os\nimport subprocess\nfrom pathlib import Path\nfrom torch import nn\n\n\n"
        "class Net(nn.Module):\n    pass\n\n\nclass Other:\n    pass\n\n\ndef function():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trust = ("mine_alone",)
    check("network", {"_target_": "mine_alone.Net", "anything": [1, {"a": "b"}]}, trust)
    for name in ("os.system", "subprocess.Popen", "Path", "function"):
        with pytest.raises(ValueError, match=r"cannot be imported|is not a class of|which is not a"):
            check("network", {"_target_": f"mine_alone.{name}"}, trust)
    with pytest.raises(ValueError, match="is not a Module"):
        check("network", {"_target_": "mine_alone.Other"}, trust)
    with pytest.raises(ValueError, match=r"asks for 'os\.system'"):
        check("network", {"_target_": "mine_alone.Net", "x": [{"_target_": "os.system"}]}, trust)
    with pytest.raises(ValueError, match=r"trust=\[mine_alone_too\]"):
        check("network", {"_target_": "mine_alone_too.Net"}, trust)


def test_a_name_is_not_imported_before_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "canary.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for family in TABLE:
        with pytest.raises(ValueError, match=r"trust=\[canary\]"):
            check(family, {"_target_": "canary.Net"})


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tmp",
        "{f}/../x",
        "{f}/out/x",
        "relative",
        "~/x",
        "{f}/$HOME",
        "{f}x",
        "s3://{f}",
        "file::{f}",
        "",
        "{f}/a/../../x",
        "memory://x",
        "{f}/~/x",
    ],
)
def test_paths_lead_into_the_folder(path: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    node = {
        "_target_": "segkit.training.callbacks.EpochTable",
        "folder": path.replace("{f}", str(folder)),
        "monitor": "val/iou",
    }
    with pytest.raises(ValueError, match=r"it\.folder is .*expected a place in the run's own folder"):
        check("callback", node, folder=folder)
    check("callback", node | {"folder": f"{folder}/a/../b"}, folder=folder)
    with pytest.raises(ValueError, match=r"run/out is a link to .*outside of"):
        stored_configs.check_folder(folder)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "~/x", "$HOME", "a\\b", "x:y"])
def test_names_of_files_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    node = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path), "name": name}
    with pytest.raises(ValueError, match=r"it\.name is"):
        check("logger", node, folder=tmp_path)


def test_an_interrupted_run_of_ones_own_code_says_what_to_trust(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = compose("+callbacks.mine={_target_: mine.Callback}", f"run_dir={tmp_path}/run")
    with pytest.raises(SystemExit), open_run(cfg):
        raise KeyboardInterrupt
    assert "Interrupted" in capsys.readouterr().err
    (tmp_path / "run" / "checkpoints").mkdir()
    torch.save({"epoch": 0, "state_dict": {}}, tmp_path / "run" / "checkpoints" / "last.ckpt")
    with pytest.raises(SystemExit), open_run(cfg):
        raise KeyboardInterrupt
    assert f"python -m segkit.train resume={tmp_path}/run 'trust=[mine]'" in capsys.readouterr().err


def test_a_damaged_list_of_checkpoints_is_told() -> None:
    with pytest.raises(ValueError, match="best_k_models of a callback is a bool, no mapping"):
        check_paths({"best_k_models": True}, Path("run/checkpoints/last.ckpt"))
