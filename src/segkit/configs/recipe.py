"""Whether a training is planned: `recipe=auto`, or nothing said and a folder of one's own."""

from omegaconf import DictConfig

from segkit.configs.composing import is_in_sweep, key_of

PLANNED = "folder"  # the data set whose default settings nobody has chosen for its pictures
DECIDED = ("experiment", "ablation", "stages")  # words that decide what a plan would
WHOLE = {"train": "resize", "eval": "resize", "crops": "none", "presence_threshold": None}  # how planned runs read
OF_PRESENCE = ("presence", "joint")  # losses whose networks say whether the class is there, which no plan chooses
LENGTHS = ("max_epochs", "max_steps", "max_time", "fast_dev_run", "limit_train_batches")  # of a trainer


def is_planned(cfg: DictConfig) -> bool:
    """What `recipe` says; if it says nothing, whether a single run on `dataset=folder` leaves its length to a budget or
    to segkit. In a sweep, runs that each had a plan of their own would differ in more than the sweep's grid."""
    if cfg.resume is not None:
        return False
    if cfg.recipe is not None:
        return bool(cfg.recipe == "auto")
    if cfg.choices.dataset != PLANNED:
        return False
    keys = {key_of(str(word)) for word in cfg.overrides}
    decided = any(sets_length(key) or key in (*DECIDED, "init_from", "lr_find", "compile") for key in keys)
    of_presence = cfg.choices.loss in OF_PRESENCE or cfg.choices.model.endswith("_classifier")
    in_windows = any(cfg.dataset[key] != value for key, value in WHOLE.items())
    return not (decided or of_presence or in_windows or is_in_sweep())


def check_unplanned(cfg: DictConfig) -> None:
    """ValueError for a limit that only a plan keeps to, in a training without one."""
    if cfg.predict_ms is not None and cfg.resume is None:
        raise ValueError(
            f"predict_ms={cfg.predict_ms}: only a plan chooses what keeps to it, and this training has none. Say "
            "recipe=auto as well, or leave it out."
        )


def sets_length(key: str) -> bool:
    """Whether a setting says how long a training is, other than by time."""
    return key == "dataset.epochs" or key.removeprefix("trainer.") in LENGTHS
