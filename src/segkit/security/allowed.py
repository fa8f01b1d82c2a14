"""The table of what a stored config may build: dotted names, the arguments each may have, and their kinds.

Arguments that read files or take URLs, hub names or functions are left out on purpose.
`segkit.security.stored_configs` uses the table.
A new setting of a class in segkit must be added here, too: tests/test_security.py compares them.
"""

from collections.abc import Mapping

from segkit import VIEWS
from segkit.security.augmentations import AUGMENTS, PHOTOMETRIC, TRANSFORMS
from segkit.security.built import TABLE, Built, Drawn
from segkit.security.kinds import (
    Arguments,
    Either,
    Inside,
    Kind,
    List,
    Map,
    Maybe,
    Node,
    Number,
    Pattern,
    Plain,
    Switch,
    Text,
    Unused,
    each,
    one_of,
)

SWITCH, TEXT, INSIDE, PLAIN = Switch(), Text(), Inside(), Plain()
NUMBER = Number(-1e38, 1e38)  # fits into float32
POSITIVE, SHARE = Number(0, 1e38), Number(0, 1)
COUNT, SEED = Number(0, 10**9, whole=True), Number(-(2**63), 2**63, whole=True)
SIDE = Number(1, 16384, whole=True)  # of a picture
SEEN_AT = Number(1, 1024, whole=True)  # side of a picture that attention is built for: its masks grow by the 4th power
WIDTH = Number(1, 16384, whole=True)  # channels
WIDTHS = List(WIDTH, 64, 1)
SIZE = Either((SIDE, List(SIDE, 2, 2)))
BYTE = Number(0, 255, whole=True)
COLORS = List(List(BYTE, 3, 3), 256)
CLASSES = List(TEXT, 255, 1)
LIMIT = Number(0, 10**9)
PLANNED = Node({"seconds": POSITIVE, "data": TEXT,
                "choices": List(Node({"words": List(TEXT, 99), "why": TEXT}), 99)}, more=PLAIN)
OUTPUT = Text(r"(?!/)(?!.*\.\.)[\w .,=+{}@()/-]*", "a name in the run's own folder")
GROUP = Pattern(known=(r"([^/-]+)[^/]*$", r"[^/]+$", r"([^/_]+)[^/]*$"))  # those in conf/dataset
SPLIT_FILE = Text(r".+\.(json|csv)", "the path of a .json or .csv file")  # read as names, in bounded time
ENCODER = Text(r"[A-Za-z0-9_.-]{1,100}", "the name of an encoder, such as resnet34: no path, no URL, no hub")


def within(module: str, table: Mapping[str, Arguments]) -> dict[str, Arguments]:
    """The entries of several names in one module."""
    return {f"{module}.{name}": arguments for name, arguments in table.items()}


ORDER = one_of("conv-norm-relu", "conv-relu-norm", "conv-relu")
UNET: dict[str, Kind] = {
    "out_channels": WIDTH, "widths": WIDTHS, "width": WIDTH, "in_channels": WIDTH,
    "order": ORDER, "decoder_order": Maybe(ORDER), "upsample": one_of("transposed", "bilinear"),
    **each("bottleneck_kernel head_kernel", Number(1, 99, whole=True)),
}
PRESENCE: dict[str, Kind] = {"hidden": WIDTHS, "pooling": one_of("dense", "any")}
NETWORKS: dict[str, Arguments] = {
    "segkit.models.unet.UNet": UNET,
    "segkit.models.segnet.SegNet": each("out_channels width in_channels", WIDTH),
    "segkit.models.vit.ViTSegmenter": {
        "out_channels": WIDTH, "size": SIZE, "patch": Number(1, 256, whole=True), "width": WIDTH,
        **each("depth heads", Number(1, 256, whole=True)), "dropout": SHARE,
    },
    "segkit.models.presence.VGGClassifier": PRESENCE | {"widths": WIDTHS, "in_channels": WIDTH},
    "segkit.models.presence.UNetClassifier": UNET | PRESENCE | {"gate": Maybe(SHARE)},
    "segkit.models.encoders.MobileNetUNet": {"out_channels": WIDTH, "widths": WIDTHS, "dropout": SHARE},
    "segkit.models.encoders.DetailUNet": {"encoder": ENCODER, **each("out_channels detail", WIDTH), "widths": WIDTHS},
    "segkit.models.encoders.Smp": {
        "architecture": Text(r"[A-Za-z0-9]{1,40}"), "encoder": ENCODER, "out_channels": WIDTH,
        "encoder_depth": Number(3, 5, whole=True), "in_channels": WIDTH,
        **each("encoder_output_stride upsampling", Maybe(one_of(1, 2, 4, 8, 16, 32))),
        "decoder_use_norm": Either((SWITCH, one_of("batchnorm", "identity", "layernorm", "instancenorm", "inplace"))),
        "decoder_use_batchnorm": Either((SWITCH, one_of("inplace"))),
        "decoder_channels": Either((WIDTH, WIDTHS)), "decoder_attention_type": Maybe(one_of("scse")),
        "decoder_interpolation": one_of("nearest", "bilinear", "bicubic", "area", "nearest-exact"),
        "decoder_merge_policy": one_of("add", "cat"), "decoder_readout": one_of("ignore", "add", "cat"),
        **each("decoder_pyramid_channels decoder_segmentation_channels decoder_pab_channels psp_out_channels "
               "decoder_fusion_channels", WIDTH),
        **each("decoder_dropout decoder_aspp_dropout psp_dropout", SHARE), "psp_use_batchnorm": SWITCH,
        "decoder_atrous_rates": WIDTHS, "decoder_intermediate_channels": WIDTHS,
        "decoder_aspp_separable": SWITCH, "encoder_output_indices": Maybe(List(COUNT, 16)),
        "dynamic_img_size": SWITCH, "img_size": Either((SEEN_AT, List(SEEN_AT, 2, 2))),
        **each("drop_rate drop_path_rate", SHARE),
    },
}
TASKS: dict[str, Arguments] = {
    "segkit.tasks.SegmentationTask": {
        "net": Built("network"), "mean": Maybe(List(NUMBER, 3, 3)), "std": Maybe(List(Number(1e-6, 1e6), 3, 3)),
        "standardise": SWITCH, "prior": Maybe(List(SHARE, 256, 1)), "threshold": SHARE, "beta": Number(1e-6, 1e6),
        "cliou": Maybe(Number(0, 16384)),
        "freeze": Either((TEXT, List(TEXT, 999))),
        "unfreeze_at_epoch": Maybe(COUNT), "encoder_lr_factor": POSITIVE,
    },
}
REDUCTION: dict[str, Kind] = {"reduction": one_of("mean", "sum")}
POOL, WEIGHT = one_of("image", "batch"), Maybe(Either((POSITIVE, one_of("auto"))))
OVERLAP: dict[str, Kind] = {"pool": POOL, "smooth": POSITIVE}
LOSSES: dict[str, Arguments] = {
    "segkit.losses.BCE": REDUCTION | {"pos_weight": WEIGHT, "smoothing": SHARE},
    "segkit.losses.L1": REDUCTION,
    "segkit.losses.MSE": REDUCTION,
    "segkit.losses.CrossEntropy": REDUCTION | {
        "weight": Maybe(Either((List(POSITIVE, 255, 1), one_of("auto")))), "smoothing": SHARE},
    "segkit.losses.Dice": OVERLAP,
    "segkit.losses.Focal": REDUCTION | {
        "gamma": POSITIVE, "alpha": Maybe(Either((SHARE, List(POSITIVE, 255, 1)))), "background_modulated": SWITCH},
    "segkit.losses.BCEDice": OVERLAP | {"alpha": SHARE},
    "segkit.losses.Combo": {"losses": Map(Built("loss")), "weights": Maybe(Map(POSITIVE))},
    "segkit.losses.Presence": {"pos_weight": WEIGHT},
    "segkit.losses.Joint": {"mask": Built("loss"), "weight": POSITIVE, "pos_weight": WEIGHT},
    "segkit.losses.Tversky": OVERLAP | each("fp fn gamma", POSITIVE),
    "segkit.losses.Lovasz": {"pool": POOL},
    "segkit.losses.MCC": OVERLAP,
    "segkit.losses.ClDice": OVERLAP | {"iterations": Number(1, 999, whole=True)},
}
LOADING: dict[str, Kind] = {
    "size": SIZE, "train": one_of("resize", "crop"), "eval": one_of("resize", "native"),
    "crops": one_of("none", "five", "grid"), "presence_threshold": Maybe(SHARE),
    "batch_size": Number(1, 10**6, whole=True), "passes": Number(1, 10**6, whole=True), "epochs": Maybe(COUNT),
    "scale": Number(0.001, 8), "foreground": SHARE,
    "workers": Either((one_of("auto"), Number(0, 256, whole=True))), "cache": one_of("auto", "disk", "ram", "off"),
    "classes": CLASSES,
}
SPLITTING: dict[str, Kind] = {"split_seed": SEED, "fractions": List(SHARE, 3, 3)}
DATASETS: dict[str, Arguments] = {
    "segkit.datasets.folder.Folder": LOADING | SPLITTING | {
        "root": TEXT, "threshold": NUMBER, "colors": Maybe(Either((COLORS, Map(List(BYTE, 3, 3))))),
        "ignore_values": List(Number(0, 65535, whole=True), 65536), "mask_suffix": TEXT, "resize_masks": SWITCH,
        **each("images masks image_pattern mask_pattern pairs ignore_masks", Maybe(TEXT)),
        "protocol": one_of("honest", "published"), "holdout": SHARE, "palette": Maybe(COLORS), "download": TEXT,
        "groups": Maybe(GROUP), "stratify": SWITCH, "split_file": Maybe(SPLIT_FILE), "only_masked": SWITCH,
    },
    "segkit.datasets.ph2.PH2": LOADING | SPLITTING | {
        "root": TEXT, "threshold": NUMBER, "resize_masks": SWITCH, "download": TEXT},
    "segkit.datasets.pets.Pets": LOADING | {
        "root": TEXT, "border": one_of("ignore", "pet"), "holdout": SHARE, "split_seed": SEED, "download": SWITCH},
    "segkit.datasets.product_masks.ProductMasks": LOADING | {
        "root": Maybe(TEXT), "name": Maybe(TEXT), "background": one_of("ignore", "class"), "crop": SWITCH,
        "margin": Number(0, 100), "holdout": SHARE, "split_seed": SEED},
    "segkit.datasets.synthetic.Synthetic": LOADING | {
        "kind": one_of("cracks", "lesions", "shapes"), "picture_size": Number(16, 16384, whole=True),
        "counts": List(Number(0, 10**6, whole=True), 3, 3), "split_seed": SEED, "empty_fraction": SHARE},
}
OPTIMIZING: dict[str, Kind] = {
    "lr": POSITIVE, "weight_decay": NUMBER, "eps": POSITIVE, "betas": List(SHARE, 2, 2),
    **each("foreach fused", Maybe(SWITCH)), **each("maximize capturable differentiable", SWITCH),
}
OPTIMIZERS: dict[str, Arguments] = {
    name: OPTIMIZING | dict(more)
    for name, more in within("torch.optim", {
        "Adam": each("amsgrad decoupled_weight_decay", SWITCH),
        "AdamW": {"amsgrad": SWITCH},
        "Adamax": {},
        "NAdam": {"momentum_decay": NUMBER, "decoupled_weight_decay": SWITCH},
        "RAdam": {"decoupled_weight_decay": SWITCH},
        "SGD": {"momentum": NUMBER, "dampening": NUMBER, "nesterov": SWITCH},
        "Adagrad": each("lr_decay initial_accumulator_value", NUMBER),
        "Adadelta": {"rho": SHARE},
        "Adafactor": {"beta2_decay": NUMBER, "d": NUMBER, "eps": List(Maybe(POSITIVE), 2, 2)},
        "ASGD": each("lambd alpha t0", NUMBER),
        "Rprop": {"etas": List(POSITIVE, 2, 2), "step_sizes": List(POSITIVE, 2, 2)},
        "RMSprop": {"alpha": SHARE, "momentum": NUMBER, "centered": SWITCH},
        "LBFGS": {**each("max_iter history_size", Number(1, 10000, whole=True)), "max_eval": Maybe(COUNT),
                  **each("tolerance_grad tolerance_change", POSITIVE),
                  "line_search_fn": Maybe(one_of("strong_wolfe"))},
    }).items()
}
MODE = one_of("min", "max")
SCHEDULERS: dict[str, Arguments] = {
    "segkit.training.schedules.cosine_with_warmup": {"warmup": SHARE},
    **within("torch.optim.lr_scheduler", {
        "StepLR": {"step_size": Number(1, 10**9, whole=True), "gamma": NUMBER},
        "MultiStepLR": {"milestones": List(COUNT), "gamma": NUMBER},
        "ExponentialLR": {"gamma": NUMBER},
        "CosineAnnealingLR": {"T_max": Number(1, 10**9, whole=True), "eta_min": NUMBER},
        "CosineAnnealingWarmRestarts": {**each("T_0 T_mult", Number(1, 10**9, whole=True)), "eta_min": NUMBER},
        "LinearLR": {"total_iters": COUNT, **each("start_factor end_factor", SHARE)},
        "PolynomialLR": {"total_iters": COUNT, "power": NUMBER},
        "ConstantLR": {"total_iters": COUNT, "factor": SHARE},
        "CyclicLR": {
            **each("base_lr max_lr gamma base_momentum max_momentum", NUMBER), "cycle_momentum": SWITCH,
            "step_size_up": Number(1, 10**9, whole=True), "step_size_down": Maybe(Number(1, 10**9, whole=True)),
            "mode": one_of("triangular", "triangular2", "exp_range"), "scale_mode": one_of("cycle", "iterations")},
        "OneCycleLR": {
            "max_lr": POSITIVE, "pct_start": SHARE, "anneal_strategy": one_of("cos", "linear"),
            **each("cycle_momentum three_phase", SWITCH),
            **each("base_momentum max_momentum div_factor final_div_factor", POSITIVE)},
        "ReduceLROnPlateau": {
            "mode": MODE, "patience": COUNT, "cooldown": COUNT, "threshold_mode": one_of("rel", "abs"),
            **each("factor threshold min_lr eps", POSITIVE)},
    }),
}
CALLBACKS: dict[str, Arguments] = {
    "segkit.training.callbacks.EpochTable": {"folder": INSIDE, "monitor": TEXT},
    "segkit.training.callbacks.Pictures": {
        "folder": INSIDE, **each("every_n_epochs count", Number(1, 10**6, whole=True))},
    "segkit.training.callbacks.Progress": {},
    "segkit.training.averaging.StochasticAveraging": {"start": SHARE},
    **within("lightning.pytorch.callbacks", {
        "ModelCheckpoint": {
            "dirpath": INSIDE, "filename": Maybe(OUTPUT), "monitor": Maybe(TEXT), "mode": MODE,
            "save_last": Maybe(SWITCH), "save_top_k": Number(-1, 10**6, whole=True),
            **each("verbose save_on_exception save_weights_only auto_insert_metric_name enable_version_counter",
                   SWITCH),
            **each("every_n_train_steps every_n_epochs", Maybe(COUNT)), "save_on_train_epoch_end": Maybe(SWITCH)},
        "EarlyStopping": {
            "monitor": TEXT, "mode": MODE, "min_delta": NUMBER, "patience": COUNT,
            **each("verbose strict check_finite log_rank_zero_only", SWITCH),
            **each("stopping_threshold divergence_threshold", Maybe(NUMBER)),
            "check_on_train_epoch_end": Maybe(SWITCH)},
        "LearningRateMonitor": {"logging_interval": Maybe(one_of("step", "epoch")),
                                **each("log_momentum log_weight_decay", SWITCH)},
        "EMAWeightAveraging": {
            "use_buffers": SWITCH, "decay": SHARE, "update_every_n_steps": Number(1, 10**9, whole=True),
            **each("update_starting_at_step update_starting_at_epoch", Maybe(COUNT))},
        "StochasticWeightAveraging": {
            "swa_lrs": Either((POSITIVE, List(POSITIVE, 99))), "swa_epoch_start": Either((SHARE, COUNT)),
            "annealing_epochs": COUNT, "annealing_strategy": one_of("cos", "linear")},
        "DeviceStatsMonitor": {"cpu_stats": Maybe(SWITCH)},
        "ModelSummary": {"max_depth": Number(-1, 99, whole=True)},
        "RichModelSummary": {"max_depth": Number(-1, 99, whole=True)},
        "RichProgressBar": {"refresh_rate": COUNT, "leave": SWITCH},
        "TQDMProgressBar": {**each("refresh_rate process_position", COUNT), "leave": SWITCH},
    }),
}
VERSION = Maybe(Either((COUNT, OUTPUT)))
SENDING = ("lightning.pytorch.loggers.WandbLogger", "lightning.pytorch.loggers.MLFlowLogger")  # never built from a file
LOGGERS: dict[str, Arguments] = {
    "lightning.pytorch.loggers.TensorBoardLogger": {
        "save_dir": INSIDE, "name": Maybe(OUTPUT), "version": VERSION, "sub_dir": Maybe(OUTPUT), "prefix": OUTPUT,
        **each("log_graph default_hp_metric", SWITCH)},
    "lightning.pytorch.loggers.CSVLogger": {
        "save_dir": INSIDE, "name": Maybe(OUTPUT), "version": VERSION, "prefix": OUTPUT,
        "flush_logs_every_n_steps": Number(1, 10**9, whole=True)},
}
PROFILING: dict[str, Kind] = {"dirpath": Maybe(INSIDE), "filename": Maybe(OUTPUT)}
PROFILERS: dict[str, Arguments] = {
    "lightning.pytorch.profilers.SimpleProfiler": PROFILING | {"extended": SWITCH},
    "lightning.pytorch.profilers.AdvancedProfiler": PROFILING | {"line_count_restriction": NUMBER},
}
EPOCHS = Maybe(Number(-1, 10**12, whole=True))
ACCELERATOR = one_of("auto", "cpu", "gpu", "cuda", "mps", "tpu")
TRAINERS: dict[str, Arguments] = {
    "lightning.Trainer": {
        "accelerator": ACCELERATOR, "num_nodes": Number(1, 4096, whole=True),
        "strategy": Text(r"(auto|ddp\w*|fsdp\w*|dp)", "auto, ddp, ddp_spawn or fsdp"),
        "devices": Either((one_of("auto"), Number(-1, 4096, whole=True), List(COUNT, 4096), Text(r"[\d, -]{1,99}"))),
        **each("max_epochs min_epochs max_steps min_steps", EPOCHS),
        "max_time": Maybe(Either((Text(r"[\d:]+"), Map(Number(0, 10**9, whole=True))))),
        **each("limit_train_batches limit_val_batches limit_test_batches limit_predict_batches overfit_batches",
               Maybe(LIMIT)),
        "val_check_interval": Maybe(LIMIT), **each("check_val_every_n_epoch log_every_n_steps", Maybe(COUNT)),
        "num_sanity_val_steps": Maybe(Number(-1, 10**9, whole=True)),
        **each("enable_checkpointing enable_progress_bar enable_model_summary benchmark", Maybe(SWITCH)),
        **each("inference_mode use_distributed_sampler detect_anomaly barebones sync_batchnorm enable_autolog_hparams",
               SWITCH),
        "fast_dev_run": Either((SWITCH, COUNT)), "accumulate_grad_batches": Number(1, 10**9, whole=True),
        "gradient_clip_val": Maybe(POSITIVE), "gradient_clip_algorithm": Maybe(one_of("norm", "value")),
        "deterministic": Maybe(Either((SWITCH, one_of("warn")))), "reload_dataloaders_every_n_epochs": COUNT,
        "profiler": Maybe(Either((one_of("simple"), Built("profiler")))), "default_root_dir": Maybe(INSIDE),
    },
}
TABLE.update({
    "network": NETWORKS, "task": TASKS, "loss": LOSSES, "dataset": DATASETS, "optimizer": OPTIMIZERS,
    "scheduler": SCHEDULERS, "callback": CALLBACKS, "logger": LOGGERS, "profiler": PROFILERS, "trainer": TRAINERS,
    "transform": TRANSFORMS, "photometric": PHOTOMETRIC, "augmentation": AUGMENTS, "part": {},
})
NAMES = {name for family in TABLE.values() for name in family}
CHOICES = Map(Maybe(Either((TEXT, List(TEXT)))))
PRECISION = one_of("auto", "16-mixed", "bf16-mixed", "32-true", "16-true", "bf16-true", "64-true", "32", "64", "16",
                   "bf16", 16, 32, 64)
METRICS = Maybe(Map(NUMBER))
VIEWED = one_of(*VIEWS)
PIXELS = Number(1, 10**12, whole=True)
CALIBRATED = Node({"threshold": Number(1e-6, 1 - 1e-6), "temperature": Number(1e-3, 1e3), "smallest": Number(0, 1e9),
                   "gates": List(List(Number(0, 1), 2, 2), 100)})
SETTINGS: dict[str, Kind] = {
    "dataset": Drawn("dataset"), "model": Built("task"), "loss": Built("loss"), "optimizer": Built("optimizer"),
    "scheduler": Node({"scheduler": Maybe(Built("scheduler")), "interval": one_of("epoch", "step"),
                       "monitor": Maybe(TEXT)}),
    "augment": Maybe(Built("augmentation")), "trainer": Built("trainer"),
    "callbacks": Maybe(Map(Maybe(Built("callback")))), "logger": Maybe(Map(Maybe(Built("logger")))),
    "seed": Number(0, 2**32 - 1, whole=True), "channels": WIDTH, "choices": CHOICES, "precision": PRECISION,
    "name": Either((TEXT, NUMBER)), **each("monitor run_dir", TEXT), "monitor_mode": MODE,
    **each("compile profile lr_find report force calibrate", SWITCH), "scored_train": Maybe(COUNT),
    "tta": VIEWED, "predict_ms": Maybe(POSITIVE),
    "recipe": Maybe(one_of("none", "auto")), "plan": Maybe(PLANNED), "budget": Maybe(Either((TEXT, POSITIVE))),
    **each("weights pretrained init_from resume", Maybe(TEXT)),
    "freeze": Maybe(Either((TEXT, List(TEXT, 999)))), "unfreeze_at_epoch": Maybe(COUNT),
    "encoder_lr_factor": POSITIVE, "published": METRICS, "expected": METRICS, "departs": Maybe(List(TEXT, 99)),
    "stages": Maybe(Map(List(TEXT, 999))), "overrides": List(TEXT, 9999), "trust": List(TEXT, 99),
}
# config.yaml of a run folder, and the part of a checkpoint's own facts that prediction uses
NEEDED = ("dataset", "model", "loss", "optimizer", "scheduler", "trainer", "seed", "channels", "choices", "precision",
          "monitor", "run_dir", "weights", "lr_find")
RUN = Node(SETTINGS, NEEDED, more=PLAIN)
SEEN: dict[str, Kind] = {
    key: LOADING[key] for key in ("size", "train", "eval", "crops", "scale", "presence_threshold", "classes")
}
FACTS = Node({
    "config": Node(
        {key: SETTINGS[key] for key in ("model", "loss", "seed", "choices", "precision", "budget", "lr_find")} | {
            "tta": VIEWED,
            "trainer": Maybe(Node({"max_epochs": EPOCHS}, more=Unused(), special=True)),
            "callbacks": Maybe(Node({}, more=Unused())),
            "dataset": Node(SEEN, needed=("size", "eval", "classes"), more=Unused(), special=True)},
        needed=("model", "loss", "dataset", "seed", "precision"), more=Unused()),
    "classes": CLASSES, "threshold": SHARE, "calibration": Maybe(CALIBRATED), "colors": Maybe(COLORS),
    "pictures": Maybe(Node({"typical": List(PIXELS, 2, 2), "largest": PIXELS}, needed=("typical", "largest"))),
    "normalisation": Node({"mean": List(Number(-1e6, 1e6), 3, 3), "std": List(Number(1e-6, 1e6), 3, 3)},
                          needed=("mean", "std")),
}, needed=("config", "threshold", "normalisation"), more=Unused())
