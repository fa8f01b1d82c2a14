"""`python -m segkit.calibrate run=outputs/…`: threshold, temperature and smallest object from validation pictures."""

from typing import Any

from omegaconf import DictConfig

from segkit import console
from segkit.configs.command import command
from segkit.configs.composing import format_argument
from segkit.configs.settings import check_settings


def calibrate(cfg: DictConfig) -> dict[str, Any]:
    """Calibrate a run on its validation pictures: see `segkit.evaluation.calibration`. Returns what was chosen and
    measured; the test pictures are not looked at."""
    settings = check_settings(cfg, "calibrate")
    from segkit.evaluation.calibration import calibrate_checkpoint  # imports torch, which a mistake need not wait for
    from segkit.runs.console import log_to_console

    log_to_console()
    found = calibrate_checkpoint(settings)
    console.say("The scores in the run's results.json are from before. To score it again:")
    console.say(f"  python -m segkit.evaluate {format_argument('run', settings['run'])}")
    return found


main = command("calibrate", calibrate)
if __name__ == "__main__":
    main()
