"""Run folders and checkpoints from a stranger, who wants code to run, files to be written or servers to be asked."""

import os
import pickle
import zipfile
from typing import Any

import numpy as np
import torch

from bad_inputs.cases import Case
from bad_inputs.makers import TINY, both, data, run
from bad_inputs.tampering import (
    BEST,
    DELETE,
    DRAWN,
    EVALUATE,
    LAST,
    PREDICT,
    REPORT,
    RESUME,
    SMP,
    SYSTEM,
    Evil,
    Make,
    archive,
    best_elsewhere,
    bomb,
    config,
    evil_module,
    expand,
    expand_moments,
    facts,
    fifo,
    link,
    many,
    more,
    net,
    other_type,
    pets,
    pickled,
    pipe,
    products,
    raw,
    raw_pickle,
    reduced,
    repository,
    stage,
    state,
    text,
    victim,
)

FOREIGN = "If the file is from someone else, do not use it"
NOT_A_CHECKPOINT = ("best.ckpt is not a segkit checkpoint, or is damaged",)
EXPRESSION = ("a stored config has values, not expressions",)


def network(name: str, make: Make, *says: str) -> Case:
    return Case(name, "predict", PREDICT, ("best.ckpt", *says), make)


def resumed(name: str, make: Make, *says: str) -> Case:
    return Case(
        f"resume_{name}", "train", RESUME, says, both(make, lambda folder: (folder / "victim").mkdir(exist_ok=True))
    )


def asks(name: str) -> tuple[str, str]:
    return f"asks for '{name}'", FOREIGN


TARGETS = ("builtins.eval", "builtins.exec", "builtins.open", "subprocess.Popen", "os.popen", "torch.hub.load",
           "torch.load", "segkit.configs.composing.hashlib", "segkit.runs.environment.subprocess",
           "segkit.models.unet.torch.hub.load",
           "filelock.FileLock", "pathlib.Path.touch", "runpy.run_path", "importlib.import_module", "shutil.rmtree",
           "segmentation_models_pytorch.Unet", "timm.create_model", "torchvision.models.resnet18",
           "segmentation_models_pytorch.encoders.timm_universal.TimmUniversalEncoder", "torch.nn.Identity",
           "torch.nn.functional.relu", "segkit.runs.load", "segkitty.Net", "hydra.utils.instantiate",
           "segkit.files.reading.read_checkpoint", "numpy.load", "pickle.loads",
           "omegaconf.OmegaConf.load")

VALUES = (  # of the network, and what is said
    ("widths", [4, 2**62], "model.net.widths[1]"), ("widths", [4] * 100, "model.net.widths"),
    ("widths", [4, -1], "model.net.widths[1]"), ("widths", [4, 2.5], "model.net.widths[1]"),
    ("widths", "48", "model.net.widths"), ("widths", None, "model.net.widths"),
    ("widths", {"a": 4}, "model.net.widths"),
    ("widths", [4, SYSTEM], "model.net.widths[1]"), ("widths", [4, [8]], "model.net.widths[1]"),
    ("widths", [16384, 16384], "more than"), ("out_channels", True, "model.net.out_channels"),
    ("out_channels", float("nan"), "model.net.out_channels"), ("out_channels", "1", "model.net.out_channels"),
    ("order", "../../x", "model.net.order"), ("upsample", "evil", "transposed or bilinear"),
    ("device", "cuda", "model.net.device is not among"),
    ("_args_", [1], "model.net._args_ is not allowed in a stored config"),
    ("_partial_", True, "model.net._partial_ is not allowed in a stored config"),
    ("_recursive_", False, "model.net._recursive_ is not allowed in a stored config"),
    ("_convert_", "none", "model.net._convert_ is not allowed in a stored config"),
    ("_call_", True, "model.net._call_"), ("_target_", ["os", "system"], "model.net._target_ is ['os', 'system']"),
    ("_target_", None, "model.net._target_ is None"), ("_target_", "segkit", "expected a dotted name"),
    ("_target_", "segkit..UNet", "expected a dotted name"),
    ("_target_", DELETE, "expected a network with its _target_"),
    ("order", "???", "model.net.order"), ("order", "x" * 5000, "model.net.order"),
)

ENCODERS = (
    "hf_hub:evil/x", "hf-hub:evil/x", "local-dir:/tmp/x", "evil/x", "http://127.0.0.1:9/x", "../x", "resnet18/../x",
    "file:///etc/passwd", "resnet18 ", "", "s3://x",
)
LOADING = (
    ("checkpoint_path", "evil.pth"), ("pretrained_cfg", {"url": "http://127.0.0.1:9/evil.pth"}),
    ("pretrained_cfg", {"file": "evil.pth"}), ("pretrained", True), ("encoder_weights", "imagenet"),
    ("cache_dir", "/tmp/x"), ("pretrained_cfg_overlay", {"hf_hub_id": "evil/x"}), ("encoder_name", "resnet34"),
    ("activation", "evil"), ("aux_params", {"classes": 4}), ("features_only", False), ("scriptable", True),
)

PATHS = (
    ("callbacks.best.dirpath", "{out}"), ("callbacks.last.dirpath", "{run}/../victim"),
    ("callbacks.table.folder", "{out}"),
    ("callbacks.best.filename", "../../victim/x"), ("callbacks.best.filename", "/etc/x"),
    ("callbacks.best.dirpath", "s3://bucket/x"), ("callbacks.best.dirpath", "~/x"),
    ("callbacks.best.dirpath", "victim"),
    ("callbacks.table.folder", "{run}/$HOME"), ("callbacks.pictures", {"_target_": "segkit.training.callbacks.Pictures",
                                                                      "folder": "{out}"}),
    ("logger.tensorboard.save_dir", "{out}"), ("logger.tensorboard.name", "../victim"),
    ("logger.tensorboard.version", "../../victim"), ("logger.tensorboard.name", "$HOME"),
    ("logger.tensorboard.sub_dir", "/tmp/x"),
    ("logger.csv", {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "{out}"}),
    ("logger.csv", {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "{run}", "name": "../victim"}),
    ("trainer.default_root_dir", "{out}"),
    ("trainer.profiler", {"_target_": "lightning.pytorch.profilers.SimpleProfiler", "dirpath": "{out}",
     "filename": "x"}),
    ("trainer.profiler", {"_target_": "lightning.pytorch.profilers.AdvancedProfiler", "dirpath": "{run}",
                          "filename": "../victim/x"}),
)

STORED: tuple[tuple[str, Any, str], ...] = (  # of config.yaml, and what is said of it
    ("run_dir", None, "config.yaml"), ("run_dir", 1, "config.yaml"), ("dataset", [1], "config.yaml"),
    ("seed", "x", "seed is 'x'"), ("seed", -1, "seed is -1"), ("seed", 2**70, "seed is"),
    ("trainer", "x", "config.yaml"),
    ("trainer.max_epochs", "x", "trainer.max_epochs"), ("trainer.devices", 10**9, "trainer.devices"),
    ("trainer.strategy", "deepspeed", "trainer.strategy"), ("trainer.plugins", [SYSTEM], "trainer.plugins"),
    ("trainer.callbacks", [SYSTEM], "trainer.callbacks"), ("trainer.logger", SYSTEM, "trainer.logger"),
    ("trainer.profiler", "pytorch", "trainer.profiler"), ("trainer.model_registry", "x", "trainer.model_registry"),
    ("callbacks", [SYSTEM], "callbacks is"), ("callbacks.evil", SYSTEM, "asks for 'os.system'"),
    ("callbacks.evil", {"_target_": "lightning.pytorch.callbacks.LambdaCallback"}, "callbacks.evil asks for"),
    ("callbacks.evil", {"_target_": "subprocess.Popen", "args": ["touch", "pwned"]}, "asks for 'subprocess.Popen'"),
    ("callbacks.evil", {"_target_": "lightning.pytorch.cli.LightningCLI"}, "callbacks.evil asks for"),
    ("augment.transforms", [{"_target_": "albumentations.Lambda"}], "augment.transforms[0] asks for"),
    ("augment.transforms", [{"_target_": "albumentations.TextImage", "font_path": "/etc/x"}], "augment.transforms[0]"),
    ("augment.transforms", [{"_target_": "albumentations.FDA", "reference_images": ["/etc/x"]}],
     "augment.transforms[0]"),
    ("augment.transforms", [{"_target_": "albumentations.Resize", "height": 10**9, "width": 1}],
     "transforms[0].height"),
    ("augment.transforms", [SYSTEM], "asks for 'os.system'"),
    ("augment._target_", "albumentations.load", "augment asks for"),
    ("optimizer._target_", "torch.optim.Evil", "optimizer asks for"),
    ("optimizer._partial_", False, "optimizer._partial_"),
    ("optimizer.lr", [1], "optimizer.lr"), ("optimizer.lr", "fast", "optimizer.lr"),
    ("optimizer.params", [1], "optimizer.params is not among"),
    ("scheduler.scheduler", {"_target_": "torch.optim.lr_scheduler.LambdaLR", "lr_lambda": SYSTEM},
     "scheduler.scheduler"),
    ("scheduler.interval", "never", "epoch or step"),
    ("dataset._target_", "canary.Data", "dataset asks for 'canary.Data'"),
    ("dataset.follow_links", True, "dataset.follow_links is not among"), ("dataset.groups", "(a+)+$", "dataset.groups"),
    ("dataset.groups", "(?x)(\\w+) +!", "a plain regular expression"),
    ("dataset.groups", r"\w?" * 60 + "!", "+dataset.groups="),
    ("dataset.groups", ".*.*.*.*!", "a plain regular expression"),
    ("dataset.groups", "^.*.*.*!", "two repeats"),
    ("augment.transforms", [{"_target_": "albumentations.CropAndPad", "px": 9000, "keep_size": False}],
     "augment.transforms[0].px"),
    ("augment.transforms", [{"_target_": "albumentations.Affine", "scale": 100, "fit_output": True}],
     "augment.transforms[0].fit_output"),
    ("model.net", SMP | {"encoder": "tu-swin_tiny_patch4_window7_224", "img_size": 16384}, "model.net.img_size"),
    ("dataset.batch_size", 10**6, "at most"), ("trainer.strategy", "deepspeed_stage_2", "trainer.strategy"),
    ("logger.tensorboard.max_queue", 5, "trust=[lightning]"),
    ("dataset.size", 10**9, "dataset.size"), ("dataset.batch_size", 10**12, "dataset.batch_size"),
    ("dataset.workers", 10**6, "dataset.workers"), ("dataset.classes", [], "dataset.classes"),
    ("dataset.classes", {"a": SYSTEM}, "dataset.classes"), ("precision", "evil", "precision is 'evil'"),
    ("choices", None, "choices is None"), ("overrides", {"a": 1}, "overrides"),
    ("name", "${oc.env:HOME}", EXPRESSION[0]), ("choices.model", "${oc.decode:x}", EXPRESSION[0]),
    ("more", {"_target_": "os.system", "command": "touch pwned"}, "expected nothing that is built here"),
    ("more", ["${oc.create:x}"], EXPRESSION[0]), ("model._target_", "torch.nn.Identity", "model asks for"),
    ("loss", None, "config.yaml"), ("loss._target_", "os.system", "loss asks for"),
    ("weights", ["imagenet"], "weights is"), ("lr_find", "yes", "lr_find is 'yes'"),
    ("published", {"test/iou": "x"}, "published.test/iou"),
)

ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{at}: &a{at} [*a{at - 1}, *a{at - 1}]\n" for at in range(1, 40))
YAMLS = {
    "alias_bomb": (ALIASES + "{old}", "alias or anchor"),
    "merge_keys": ("base: &base {a: 1}\nmore: {<<: *base}\n{old}", "alias or anchor"),
    "python_tag": ("evil: !!python/object/apply:os.system ['touch pwned']\n{old}", "has the tag"),
    "binary_tag": ("evil: !!binary aGVsbG8=\n{old}", "has the tag"),
    "own_tag": ("evil: !evil {a: 1}\n{old}", "has the tag"),
    "deep": ("evil: " + "[" * 5000 + "]" * 5000 + "\n{old}", "more than 24 containers"),
    "unclosed": ("evil: " + "{a: " * 9000, "config.yaml"),
    "wide": ("evil: [" + "1, " * 50_000 + "1]\n{old}", "more than 10000 values"),
    "large": ("evil: '" + "x" * 400_000 + "'\n{old}", "more than 0.25 MB"),
    "long_number": ("evil: " + "9" * 10_000 + "\n{old}", "config.yaml"),
    "twice": ("seed: 1\n{old}", "duplicate key"),
    "two_documents": ("a: 1\n---\n{old}", "config.yaml"),
    "infinite_number": ("evil: .inf\n{old}", "finite number"),
    "key_is_list": ("? [a, b]\n: 1\n{old}", "config.yaml"),
}

CHECKPOINTS = (
    network("pickle_predict", pickled(BEST), *NOT_A_CHECKPOINT),
    Case("pickle_evaluate", "evaluate", EVALUATE, NOT_A_CHECKPOINT, pickled(BEST)),
    Case("pickle_init_from", "train", (*TINY[:-1], "init_from=run", "hydra.run.dir=new"),
     ("best.ckpt", "more than tensors"),
         pickled(BEST)),
    Case("pickle_weights", "train", (*TINY, "model=mobilenet_unet", "model.net.widths=[8,8,8,8]", "weights=evil.pth"),
         ("evil.pth cannot be read as weights", "more than tensors"),
         both(data, lambda folder: torch.save({"evil": Evil()}, folder / "evil.pth"))),
    resumed("pickle", pickled(LAST), "last.ckpt is cut short or damaged", "start a new run"),
    network("plain_pickle", raw(lambda: pickle.dumps({"evil": Evil()})), *NOT_A_CHECKPOINT),
    network("zip_bomb", raw(bomb), "unpacked, it would be too large"),
    network("packed_archive", archive(zipfile.ZIP_DEFLATED), "unpacked, it would be too large"),
    network("empty_file", raw(lambda: b""), *NOT_A_CHECKPOINT),
    network("random_bytes", raw(lambda: np.random.default_rng(0).bytes(50_000)), *NOT_A_CHECKPOINT),
    network("numpy_file", raw(lambda: b"\x93NUMPY" + b"\0" * 99), *NOT_A_CHECKPOINT),
    network("no_pickle_in_archive", archive(change=lambda name, content: b"" if name.endswith(".pkl") else content),
            *NOT_A_CHECKPOINT),
    network("tensors_cut", archive(change=lambda name, content: content[:1] if "/data/" in name else content),
            "more than the file has"),
    network("list_in_lists", many(), "more than 1000000 values"),
    network("bytes_without_end", reduced(b"cbuiltins\nbytearray\n", b"J\x00\x00\x00\x40"), "builtins.bytearray"),
    network("containers_without_end", raw_pickle(lambda: b"\x80\x02](" + b"}" * 1_100_000 + b"e."), "more parts than"),
    resumed("claimed_moments", state(expand_moments, LAST), "claims more than the file has"),
    network("claimed_size", state(expand), "claims more than the file has"),
    network("no_tensor", state(other_type), "no state_dict of tensors"),
    network("no_weights", state(lambda found: found.pop("state_dict")), "no state_dict of tensors"),
    network("weights_of_none", state(lambda found: found.update(state_dict={})), "its weights are another network's"),
    network("no_facts", state(lambda found: found.pop("segkit")), "has no config"),
    network("facts_of_a_list", state(lambda found: found.update(segkit=[1])), "has no config"),
    network("config_of_a_list", facts("config", [1]), "config is [1]; expected settings by name"),
    network("tensor_in_config", net("widths", torch.ones(2)), "model.net.widths"),
    network("expression_as_key", facts("config.model.net", SMP | {"${oc.env:HOME}": 1}), *EXPRESSION),
    network("expression", net("order", "${oc.env:HOME}"), *EXPRESSION),
    network("expression_in_list", net("widths", [4, "${oc.create:{}}"]), *EXPRESSION),
    network("model_of_a_word", facts("config.model", "x"), "config.model is 'x'"),
    network("task_of_another", facts("config.model._target_", "torch.nn.Identity"), *asks("torch.nn.Identity")),
    network("loss_of_none", facts("config.loss", None), "config.loss is None"),
    network("loss_of_a_network", facts("config.loss", {"_target_": "segkit.models.unet.UNet"}), "config.loss asks for"),
    network("huge_size", facts("config.dataset.size", 10**9), "config.dataset.size", "from 1 to 16384"),
    network("size_of_0", facts("config.dataset.size", 0), "config.dataset.size", "from 1 to 16384"),
    network("size_of_words", facts("config.dataset.size", ["a", "b"]), "config.dataset.size"),
    network("mean_of_a_word", facts("config.model.mean", "x"), "config.model.mean"),
    network("std_of_0", facts("normalisation.std", [0, 0, 0]), "normalisation.std[0]"),
    network("threshold_of_a_list", facts("threshold", [0.5]), "threshold is [0.5]"),
    network("colors_of_words", facts("colors", ["red"]), "colors"),
    network("classes_of_a_path", facts("config.dataset.classes", "../../x"), "config.dataset.classes"),
    network("precision_of_another", facts("config.precision", "evil"), "config.precision is 'evil'"),
    Case("frozen_nothing", "evaluate", EVALUATE, ("best.ckpt", "freeze=['evil']"),  # prediction freezes nothing
         facts("config.model.freeze", ["evil"])),
    network("seed_of_a_word", facts("config.seed", "x"), "config.seed is 'x'"),
    network("other_architecture", net("_target_", "segkit.models.segnet.SegNet"), "model.net.widths is not among"),
    network("other_widths", net("widths", [8, 16]), "its weights are another network's"),
    network("lists_of_smp", facts("config.model.net", SMP | {"decoder_channels": "x"}), "decoder_channels"),
    network("imported_on_sight", both(net("_target_", "canary.Net"), evil_module), *asks("canary.Net")),
    *(network(f"target_{name}", net("_target_", name), *asks(name)) for name in TARGETS),
    *(network(f"net_{at:02}_{key}", net(key, value), says) for at, (key, value, says) in enumerate(VALUES)),
    *(network(f"encoder_{at:02}", facts("config.model.net", SMP | {"encoder": name}), "config.model.net.encoder")
      for at, name in enumerate(ENCODERS)),
    *(network(f"loading_{at:02}_{key}", facts("config.model.net", SMP | {key: value}), f"model.net.{key} is not among")
      for at, (key, value) in enumerate(LOADING)),
    network("encoder_of_none", facts("config.model.net", SMP | {"encoder": "evilnet"}), "there is no such encoder"),
)

FOLDERS = (
    *(resumed(f"path_{at:02}_{key}", config(key, value), "config.yaml", key.split(".")[0])
      for at, (key, value) in enumerate(PATHS)),
    *(resumed(f"stored_{at:02}_{key}", both(config(key, value), evil_module), says)
      for at, (key, value, says) in enumerate(STORED)),
    *(resumed(f"yaml_{name}", text(content), "config.yaml", says) for name, (content, says) in YAMLS.items()),
    resumed("config_of_a_list", text("- 1\n- 2\n"), "config.yaml"),
    resumed("no_dataset", config("dataset", DELETE), "config.yaml", "dataset"),
    resumed("best_is_somebodys", both(state(best_elsewhere, LAST), victim), "is a checkpoint of its run", "not loaded"),
    *(resumed(f"link_{name.replace('/', '_')}", link(name, to), "is a link to", "remove the link") for name, to in (
        ("checkpoints", "../victim"), ("pictures", "../victim"), ("train.log", "../victim/file"),
        ("metrics.csv", "../victim/file"), (".lock", "../victim/file"),
        ("stages", "../victim"), ("curves.png", "/etc/passwd"), ("elsewhere", ".."), ("up", "../../.."))),
    *(resumed(f"fifo_{name}", pipe(name), f"run/{name} is a pipe", "Remove it") for name in (
        "train.log", "hparams.yaml", ".lock", "checkpoints/last.ckpt")),
    resumed("fifo_config", fifo("config.yaml"), "no config.yaml"),
    resumed("stage_of_code", stage("+callbacks.evil={_target_: os.system, command: 'touch pwned'}"),
            "asks for 'os.system'"),
    resumed("stage_that_trusts", both(stage("trust=[canary]", "dataset._target_=canary.Data"), evil_module),
            "asks for 'canary.Data'"),
    resumed("stage_that_asks_for_classes", both(stage("dataset._target_=canary.Data",
     "dataset.classes=auto"), evil_module),
            "asks for 'canary.Data'"),
    resumed("stage_of_expressions", stage("name=${oc.env:HOME}"), *EXPRESSION),
    resumed("stage_of_hidden_expressions", stage(r"name=$\{oc.env\:HOME\}"), "the stored word", "first command again"),
    resumed("stage_of_a_strangers_yaml", stage("model=../../../tmp/evil"), "the stored word", "segkit list"),
    resumed("stage_of_a_yaml_by_its_path", stage("model=/tmp/evil"), "the stored word"),
    resumed("stage_of_a_package", stage("model@dataset=unet"), "the stored word"),
    resumed("stage_that_fetches", stage("weights=imagenet"), "weights=imagenet", "does not fetch"),
    resumed("stage_that_fetches_by_its_experiment", stage("experiment=ph2_mobilenet"), "weights=imagenet"),
    resumed("stage_of_any_file", stage("weights=/etc/passwd"), "weights=/etc/passwd"),
    resumed("stage_that_starts_elsewhere", stage("init_from=/etc/any.ckpt"), "init_from=/etc/any.ckpt"),
    resumed("stages_that_start_elsewhere", both(
        stage("seed=1"), lambda folder: more(folder, init_from="/etc/any.ckpt")), "init_from=/etc/any.ckpt"),
    Case("resume_does_not_send", "train", RESUME, ("wandb would send logs", "logger=[tensorboard"),
         config("logger.wandb", {"_target_": "lightning.pytorch.loggers.WandbLogger", "project": "x"}), ends=0,
         seconds=30),
    Case("resume_does_not_track", "train", RESUME, ("mlflow would send logs to a server",),
         config("logger.mlflow", {"_target_": "lightning.pytorch.loggers.MLFlowLogger",
                                  "tracking_uri": "http://127.0.0.1:9"}), ends=0, seconds=30),
    resumed("stage_of_a_path", config("stages", {"../victim": ["seed=1"]}), "must be a folder's name"),
    resumed("stages_of_words", config("stages", "x"), "stages is 'x'"),
)

READING = (
    # what is as it was is read, in a folder that was copied
    Case("resume_clean", "train", RESUME, ("Run folder:", "all"), run, ends=0, seconds=30),
    Case("resume_in_a_repository", "train", RESUME, ("Run folder:",), both(run, repository), ends=0, seconds=30),
    Case("resume_other_rate", "train", RESUME, ("Run folder:",), config("optimizer.lr", 0.01), ends=0, seconds=30),
    Case("report_plain", "report", REPORT, ("report.html",), run, ends=0, seconds=30),
    Case("evaluate_plain", "evaluate", EVALUATE, ("Written to",), run, ends=0, seconds=30),
    Case("postscript_as_picture", "predict", PREDICT, ("p00.png", "it is PostScript, a program and no picture"),
         both(run, lambda folder: (folder / "data" / "images" / "p00.png").write_bytes(
             b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"))),
    Case("hub_evaluate", "evaluate", EVALUATE, ("is on the hub", "dataset.root="),
         facts("config.dataset", products(None))),
    Case("hub_local_evaluate", "evaluate", EVALUATE, ("nowhere", "no such folder"),
         facts("config.dataset", products("nowhere"))),
    Case("hub_url_as_root", "evaluate", EVALUATE, ("dataset.root=", "hf:", "no such folder"),
         facts("config.dataset", products("hf://datasets/evil/repo"))),
    Case("download_evaluate", "evaluate", EVALUATE, ("pets", "dataset.download=true"), pets),
    Case("root_elsewhere_evaluate", "evaluate", EVALUATE, ("/etc",), facts("config.dataset.root", "/etc")),
    Case("url_as_root_evaluate", "evaluate", EVALUATE, ("http:", "does not exist"),
         facts("config.dataset.root", "http://127.0.0.1:9/x")),
    Case("data_of_code_evaluate", "evaluate", EVALUATE, ("dataset asks for 'os.system'",),
         facts("config.dataset._target_", "os.system")),
    Case("data_of_a_network_evaluate", "evaluate", EVALUATE, ("dataset asks for 'segkit.models.unet.UNet'",),
         facts("config.dataset._target_", "segkit.models.unet.UNet")),
    Case("links_evaluate", "evaluate", EVALUATE, ("dataset.follow_links is not among",),
         facts("config.dataset.follow_links", True)),
    Case("pattern_without_end_evaluate", "evaluate", EVALUATE, ("dataset.groups",), facts("config.dataset.groups",
     "(.*)*$")),
    *(Case(f"facts_{key}_evaluate", "evaluate", EVALUATE, ("best.ckpt", f"config.{key}"), facts(f"config.{key}", value))
      for key, value in (("trainer", "x"), ("callbacks", "x"), ("dataset.train", [1]), ("lr_find", "x"),
                         ("budget", [1]), ("dataset.presence_threshold", "x"), ("trainer.max_epochs", "x"))),
    *(Case(f"plain_patterns_alone_{at}", "evaluate", EVALUATE, ("dataset.groups", "+dataset.groups="),
           facts("config.dataset.groups", pattern))
      for at, pattern in enumerate(("(?x)(\\w+) +!", r"\w?" * 60 + "!", ".*.*.*.*!", "(a|a)" * 20))),
    Case("drawn_without_end_evaluate", "evaluate", EVALUATE, ("dataset.counts", "at most"),
         facts("config.dataset", DRAWN | {"counts": [10**6, 10**6, 10**6], "picture_size": 64})),
    Case("drawn_of_many_pixels_evaluate", "evaluate", EVALUATE, ("dataset.counts", "at most"),
         facts("config.dataset", DRAWN | {"counts": [1, 1, 100], "picture_size": 8192})),
    Case("batch_of_many_pixels_evaluate", "evaluate", EVALUATE, ("dataset.batch_size", "pixels"),
         facts("config.dataset", DRAWN | {"batch_size": 65536, "size": 8192})),
    Case("report_json_nested", "report", REPORT, ("results.json", "containers inside each other"),
         text('{"status": "finished", "metrics": {}, "x": ' + "[" * 200 + "]" * 200 + "}", "results.json")),
    Case("report_csv_long", "report", REPORT, ("per_image.csv", "rows"), text("name\n" + "a\n" * 600_000,
                                                                            "per_image.csv")),
    Case("report_csv_long_name", "report", REPORT, ("per_image.csv", "letters"), text("x" * 2000 + "\n1\n",
                                                                                     "per_image.csv")),
    *(Case(f"report_yaml_{name}", "report", REPORT, ("its files cannot be read", "config.yaml"), text(content))
      for name, (content, _) in YAMLS.items() if name not in ("infinite_number",)),
    Case("report_json_deep", "report", REPORT, ("results.json",), text("[" * 100_000, "results.json")),
    Case("report_json_of_a_list", "report", REPORT, ("results.json",), text("[1]", "results.json")),
    Case("report_json_long_number", "report", REPORT, ("results.json",),
         text('{"status": "finished", "metrics": {"a": ' + "9" * 9999 + "}}", "results.json")),
    Case("report_json_of_words", "report", REPORT, ("metrics: a is not a number",),
         text('{"status": "finished", "metrics": {"a": "=cmd()"}}', "results.json")),
    Case("report_fifo", "report", REPORT, ("no run folder there",), both(fifo("config.yaml"), lambda folder: (
        folder / "run" / "results.json").unlink())),
    Case("report_fifo_beside", "report", REPORT, ("report/table.csv is a pipe",), both(run, lambda folder: (
        folder / "report").mkdir(), lambda folder: os.mkfifo(folder / "report" / "table.csv"))),
    Case("report_fifo_in_output", "report", (*REPORT, "output=out"), ("report.html",), both(run, lambda folder: (
        folder / "out").mkdir(), lambda folder: os.mkfifo(folder / "out" / ".report.html.part")), ends=0, seconds=30),
    Case("report_csv_cut", "report", REPORT, ("per_image.csv",), text('name,iou\na,"0.5', "per_image.csv")),
    Case("report_csv_of_words", "report", REPORT, ("cannot be read",), text("name,iou\na,b\n", "per_image.csv")),
    Case("report_environment_of_a_list", "report", REPORT, ("environment.json is not a mapping",),
         text("[1]", "environment.json")),
    Case("report_evil_checkpoint", "report", REPORT, ("report.html", "asks for 'segmentation_models_pytorch.Unet'"),
         net("_target_", "segmentation_models_pytorch.Unet"), ends=0, seconds=30),
    Case("report_where_a_link_leads", "report", REPORT, ("is a link to", "output="),
         both(run, victim, lambda folder: (folder / "report").symlink_to("../aside"))),
    Case("report_into_a_link", "report", REPORT, ("is a link to",), both(run, lambda folder: (
        folder / "report").mkdir(), lambda folder: (folder / "report" / "pictures").symlink_to("/etc"))),
)

CASES = (*CHECKPOINTS, *FOLDERS, *READING)
