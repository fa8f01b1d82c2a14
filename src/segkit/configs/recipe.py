"""Whether a training is planned: `recipe=auto`, or nothing said and a folder of one's own."""

from omegaconf import DictConfig

from segkit.configs.composing import is_in_sweep, key_of
from segkit.configs.experiment_files import as_typed

PLANNED = "folder"  # the data set whose default settings nobody has chosen for its pictures
DECIDED = ("experiment", "ablation", "stages")  # words that decide what a plan would
WHOLE = {"train": "resize", "eval": "resize", "crops": "none", "presence_threshold": None}  # how planned runs read
OF_PRESENCE = ("presence", "joint")  # losses whose networks say whether the class is there, which no plan chooses
OWN = ("recipe", "run_dir", "overrides", "hydra", "output")  # words that do not reach the planned config
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


def check_planned(cfg: DictConfig) -> None:
    """ValueError for words that decide what a plan would, and for a training that is not on masks alone; said before
    anything heavy is imported."""
    words = own_words(cfg)
    for word in words:
        if key_of(word) in DECIDED:
            typed = as_typed([word])[0]
            raise ValueError(f"{typed} has decided what recipe=auto would choose: leave out one of the two.")
    lengths = [word for word in words if sets_length(key_of(word))]
    if lengths and "budget" not in map(key_of, words):
        raise ValueError(f"{lengths[0]} sets a length, and recipe=auto plans for a time: say budget=… in its place.")
    if cfg.choices.loss in OF_PRESENCE:
        raise ValueError(f"recipe=auto plans trainings on masks, and loss={cfg.choices.loss} is of presence as well.")


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


def own_words(cfg: DictConfig) -> list[str]:
    """The words of a command line that a planned config keeps."""
    return [str(word) for word in cfg.overrides if key_of(word).partition(".")[0] not in OWN]
