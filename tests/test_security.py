"""What a stored config may build and where it may write; how files of run folders are read."""

import csv
import importlib
import inspect
import os
import random
import socket
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from miniatures import write_pets, write_products

from segkit import config_dir
from segkit.choices.listing import find_choices
from segkit.configs.composing import compose, find_classes, to_plain
from segkit.files import tables
from segkit.files.reading import read_checkpoint, read_json, read_yaml
from segkit.files.tables import csv_text, escape_cell, read_rows, unescape_cell, write_rows
from segkit.files.writing import write_json
from segkit.runs.build import build_data, build_task
from segkit.runs.folder import open_run, resumed_config
from segkit.runs.loading import load
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
    root = [] if compose(f"experiment={choice}").dataset.get("root", "") is None else ["dataset.root=/data"]
    root = [] if "synthetic" in str(compose(f"experiment={choice}").choices.dataset) else root
    config = to_plain(compose(f"experiment={choice}", *root, f"run_dir={tmp_path}"))
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
    if group == "dataset" and "root" in [*compose(*words, "run_dir=x").dataset]:
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
        ("dataset", {"_target_": "segkit.datasets.folder.Folder", "group": "(a+)+$"}, r"it\.group is .*regular exp"),
        ("dataset", {"_target_": "segkit.datasets.pets.Pets", "download": "http://x"}, r"it\.download is"),
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
    check("dataset", {"_target_": "segkit.datasets.folder.Folder", "group": pattern})


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
    with pytest.raises(ValueError, match=r"it\.group is .*\+dataset\.group="):
        check("dataset", {"_target_": "segkit.datasets.folder.Folder", "group": pattern})


def test_a_pattern_of_the_persons_own_takes_the_stored_ones_place() -> None:
    stored_one = {"_target_": "segkit.datasets.folder.Folder", "root": "x", "group": "(a|b)+"}
    assert stored_configs.merge_stored_dataset(stored_one, {"group": "(a|b)"}, "file", [])["group"] == "(a|b)"


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
        ["dataset=folder", "dataset.root=/x", "dataset.group='(a|b)+'"],
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


@pytest.mark.parametrize("name", ["train.log", ".config.yaml.part", "checkpoints/.last.ckpt.part"])
def test_a_run_folder_has_plain_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} is a pipe, a socket or a device.*Remove it"):
        stored_configs.check_folder(tmp_path)
    (tmp_path / name).unlink()
    monkeypatch.chdir((tmp_path / name).parent)  # a socket's address has 107 characters at most
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(Path(name).name)
        with pytest.raises(ValueError, match="is a pipe, a socket"):
            stored_configs.check_folder(tmp_path)


def test_a_file_is_written_where_a_pipe_stood_for_its_first_half(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".a.json.part")
    write_json(tmp_path / "a.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "~/x", "$HOME", "a\\b", "x:y"])
def test_names_of_files_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    node = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path), "name": name}
    with pytest.raises(ValueError, match=r"it\.name is"):
        check("logger", node, folder=tmp_path)


def test_one_container_in_many_places_is_counted_each_time() -> None:
    node: list[Any] = [0]
    for _ in range(20):
        node = [node] * 10
    with pytest.raises(ValueError, match="more than 100000 values"):
        stored_configs.check_values({"model": node}, Origin("file"))
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="more than 24 containers"):
        stored_configs.check_values(cycle, Origin("file"))


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "alias or anchor"),
        ("a: &x 1\nb: {<<: *x}", "alias or anchor"),
        ("a: !!python/object/apply:os.system ['true']", "has the tag"),
        ("a: !!binary aGVsbG8=", "has the tag"),
        ("a: " + "[" * 100 + "]" * 100, "more than 24 containers"),
        ("a: " + "[" * 9999, "more than 24 containers"),
        ("a: [" + "1," * 20000 + "]", "more than 10000 values"),
        ("x" * 300_000, "more than 0.25 MB"),
        ("a: 1\na: 2", "duplicate"),
        ("a: " + "9" * 5000, "cannot be read as a config"),
        ("%YAML 9.9\n---\n: : :", "cannot be read as a config"),
        ("true", "cannot be read as a config"),
        ("12", "cannot be read as a config"),
        ("\x07", "cannot be read as a config"),
        ("- 1\n--- \n- 2", "cannot be read as a config"),
    ],
)
def test_yaml_is_read_with_bounds(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"config\.yaml.*{message}"):
        read_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"a": 1', "cannot be read as JSON"),
        (b"\xff\xfe", "is not a text file"),
        (b"9" * 10_000, "cannot be read as JSON"),
        (b" " * (33 * 2**20), "more than 32 MB"),
        (b"[" * 30 + b"]" * 30, "more than 24 containers inside each other"),
        (b'{"a":' * 30 + b"1" + b"}" * 30, "more than 24 containers inside each other"),
        (b"[" + b"[]," * 1_000_001 + b"1]", "more than 1000000 lists"),
    ],
)
def test_json_is_read_with_bounds(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"results\.json.*{message}"):
        read_json(tmp_path / "results.json")


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    (tmp_path / "config.yaml").symlink_to("/dev/zero")
    for read, name in ((read_json, "results.json"), (read_yaml, "config.yaml")):
        with pytest.raises(FileNotFoundError, match="is not a regular file"):
            read(tmp_path / name)


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,a\n1,2\n", 'a,b\n1,"2', "a\n1,2\n"])
def test_a_damaged_csv_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=r"x\.csv"):
        read_rows(tmp_path / "x.csv")


def test_csv_is_read_with_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    monkeypatch.setattr(tables, "MOST_CELLS", 8)
    for text, message in (
        ("a\n" + "1\n" * 4, "more than 3 rows"),
        ("a,b,c,d\n" + "1,2,3,4\n" * 3, "more than 2 rows"),
        (f"{'x' * 1001}\n1\n", "1000 letters"),
        (",".join(map(str, range(5000))), "4096 columns"),
    ):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(ValueError, match=rf"x\.csv.*{message}"):
            read_rows(tmp_path / "x.csv")


def test_no_cell_is_a_formula_and_each_is_read_as_it_was(tmp_path: Path) -> None:
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "\r=x", "'=x", "''=x", "'x", "＝x", "plain", "-", ""]
    write_rows(tmp_path / "x.csv", [{"=name": cell, "value": -1.5} for cell in cells])
    with (tmp_path / "x.csv").open(newline="") as file:
        written = list(csv.reader(file))
    assert all(not cell.startswith(tuple("=+-@\t\r＝")) for name, _ in written for cell in [name])
    assert written[1][1] == "-1.5"
    assert [row["=name"] for row in read_rows(tmp_path / "x.csv")] == cells


def repacked(source: Path, target: Path, change: Any = None, compression: Any = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(name, content) if change else content)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ['"', None])
def test_no_part_of_a_cell_is_a_formula_however_a_program_splits_lines(
    separator: str, quote: str | None, tmp_path: Path
) -> None:
    """Even for programs to which a quote inside a cell is an ordinary letter."""
    parts = ["=cmd|' /C calc'!A0", '"=1', "\"'=1", " @a", "＝1", "x"]
    cells = [f"x{between}{part}" for between in (";", "\t", "|", "\n", "\r\n", ";;") for part in parts]
    write_rows(tmp_path / "x.csv", [{"n": 1, "cell": cell, "more": cell} for cell in cells])
    with (tmp_path / "x.csv").open(newline="") as file:
        lines = csv.reader(
            file, delimiter=separator, quotechar=quote, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
        )
        found = [cell for line in lines for cell in line]
    assert len(found) > len(cells)
    assert [cell for cell in found if cell.lstrip(' "').startswith(("=", "@", "＝"))] == []
    assert [row["cell"] for row in read_rows(tmp_path / "x.csv")] == cells


def test_cells_with_separators_are_quoted() -> None:
    assert csv_text([["a;b", "a\tb", "a|b", "ab", 1.5]]) == '"a;b","a\tb","a|b",ab,1.5\n'


def test_any_cell_is_read_as_it_was() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        cell = "".join(rng.choices("'\";\t|\r\n=-＝ a,", k=rng.randint(0, 9)))
        assert unescape_cell(str(escape_cell(cell))) == cell


def test_a_checkpoint_is_no_larger_unpacked_than_it_is(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.ckpt")
    repacked(tmp_path / "a.ckpt", tmp_path / "bomb.ckpt", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"bomb\.ckpt .* unpacked, it would be too large"):
        read_checkpoint(tmp_path / "bomb.ckpt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"old\.ckpt is not a segkit checkpoint"):
        read_checkpoint(tmp_path / "old.ckpt")


def test_a_tensor_claims_no_more_than_the_file_has(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1000)}, "segkit": {}}, tmp_path / "a.ckpt")

    def more(name: str, content: bytes) -> bytes:
        return content.replace(b"M\xe8\x03", b"M\xe8\xff") if name.endswith(".pkl") else content  # 1000 to 65512

    repacked(tmp_path / "a.ckpt", tmp_path / "more.ckpt", more)
    with pytest.raises(ValueError, match=r"more\.ckpt is not a segkit checkpoint, or is damaged"):
        read_checkpoint(tmp_path / "more.ckpt")


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


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection to a server, or look-up of its address, fails the test."""

    def fail(*words: str, **more: Any) -> None:
        pytest.fail(f"a socket was opened: {words}", pytrace=True)

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket, "create_connection", fail)
    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket.socket, "connect_ex", fail)


@pytest.mark.parametrize(
    "words",
    [
        ["model=smp_unet_resnet18"],
        ["model=segformer_b0"],
        ["model=mobilenet_unet"],
        ["model=encoder_unet", "model.net.encoder=mobilenetv3_small_050"],
        ["model=smp_pan", "model.net.encoder=resnet18"],
    ],
)
def test_networks_of_others_are_loaded_without_asking_a_server(
    words: list[str], tmp_path: Path, no_network: None
) -> None:
    config = to_plain(compose(*words, "dataset.size=64", f"run_dir={tmp_path}"))
    task = build_task(config)
    torch.save({"segkit": task.facts, "state_dict": task.state_dict()}, tmp_path / "a.ckpt")
    loaded = load(str(tmp_path / "a.ckpt"))
    assert loaded.probabilities(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 1, 64, 64)
    assert loaded.facts["config"]["model"] == config["model"]


def test_data_sets_in_folders_are_read_without_asking_a_server(tmp_path: Path, no_network: None) -> None:
    pytest.importorskip("datasets")
    write_products(tmp_path / "products")
    write_pets(tmp_path / "pets")
    for name in ("products", "pets"):
        own = f"dataset={'product_masks' if name == 'products' else name}"
        cfg = compose(own, f"dataset.root={tmp_path}/{name}", "dataset.download=true" if name == "pets" else "seed=0")
        find_classes(cfg)
        dataset = stored_configs.merge_stored_dataset(to_plain(cfg)["dataset"], {}, "a.ckpt", [])
        assert not dataset.get("download")
        data = build_data(to_plain(cfg) | {"dataset": dataset}, splits=["test"])
        assert len(data.sources["test"])
