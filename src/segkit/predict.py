"""`python -m segkit.predict run=outputs/… input=photos/ output=masks/`: masks, overlays and a CSV from a checkpoint."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from segkit.configs.command import command
from segkit.configs.inputs import check_extra, find_inputs
from segkit.configs.places import find_checkpoint, find_runs
from segkit.configs.settings import check_settings


def predict(cfg: DictConfig) -> list[dict[str, Any]]:
    """Write masks, overlays, `predictions.csv` and what else is asked for of all that `cfg.input` names; returns the
    rows of pictures and videos.

    What the same run has predicted there before with the same settings is kept. A picture that cannot be read is named,
    has its error in the CSV, and the command ends non-zero after the rest.
    """
    settings = check_settings(cfg, "predict")
    from segkit.inference.journal import Journal, identify

    output = Path(settings["output"])
    checkpoints = [find_checkpoint(run) for run in find_runs(settings["run"])]
    journal = Journal(output, identify(checkpoints, settings), settings["overwrite"])
    inputs = find_inputs(settings["input"], output, journal.names)
    check_extra(one.source for one in inputs)  # some may have been named on standard input
    from segkit.inference.predicting import predict_inputs  # imports torch, which a mistake need not wait for

    predict_video: Any = None
    if any(one.kind != "picture" for one in inputs):
        from segkit.inference.frames import predict_video  # imports PyAV, an extra
    return predict_inputs(inputs, journal, settings, predict_video)


main = command("predict", predict)
if __name__ == "__main__":
    main()
