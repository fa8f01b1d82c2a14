"""The weights that training starts with: random, a pretrained encoder's, or those of a run."""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from segkit.configs.composing import has_weights
from segkit.configs.places import find_checkpoint
from segkit.files.reading import first_line, read_checkpoint
from segkit.models.encoders import encoder_of
from segkit.models.weights import copy_weights, short_name
from segkit.runs.checkpoints import check_tensors
from segkit.runs.pretrained import load_encoder
from segkit.tasks.contract import Task

log = logging.getLogger("segkit")


def initialise(task: Task, config: Mapping[str, Any]) -> None:
    """Load the weights of `init_from`, and the encoder's from `weights` if that run has none, and log which; warn if
    frozen parts are untrained."""
    source, known = config.get("init_from"), set[str]()
    state, normalisation, model = ({}, None, "") if source is None else read_run(source)
    encoder = encoder_of(task.net)
    inside = tensor_names(task.net, [] if encoder is None else [encoder])
    if has_weights(config["weights"]) and not (inside and inside <= set(map(short_name, state))):
        done = load_encoder(task.net, str(config["weights"]), config["choices"]["model"])
        how = task.normalisation
        log.info("%s; pictures are normalised by mean %s and std %s", done, how["mean"], how["std"])
        known |= inside
    if source is not None:
        try:
            taken = copy_weights(task.net, state, source)
        except ValueError as error:
            if model in ("", config["choices"]["model"]):
                raise
            raise ValueError(f"{error} It was trained with model={model}.") from None
        log.info("init_from=%s: %s", source, taken)
        known |= set(taken.taken)
    if stays := sorted(tensor_names(task.net, task.frozen) - known):
        log.warning(
            "freeze=%s: %d tensors keep the random values they start with (%s, …). Give weights=… or "
            "init_from=<run> that has them, or train them with freeze=none.",
            config["model"]["freeze"],
            len(stays),
            stays[0],
        )
    if normalisation not in (None, how_normalised(task)):
        log.warning(
            "init_from=%s was trained with pictures normalised by %s, this model by %s: set model.mean, "
            "model.std and model.standardise to the same.",
            source,
            normalisation,
            how_normalised(task),
        )


def how_normalised(task: Task) -> dict[str, Any]:
    """What a task does with the values of pictures."""
    return task.normalisation | {"standardise": getattr(task, "standardise", False)}


def read_run(source: str) -> tuple[dict[str, Tensor], Any, str]:
    """Read the network's tensors, the normalisation and the name of the model of a run or checkpoint."""
    path = find_checkpoint(source, "init_from")
    try:
        checkpoint = read_checkpoint(path)
        state, facts = checkpoint["state_dict"], checkpoint["segkit"]
        normalisation = facts["normalisation"] | {"standardise": facts["config"]["model"].get("standardise", False)}
        model = str(facts["config"].get("choices", {}).get("model", ""))
    except Exception as error:
        raise ValueError(
            f"init_from={source} is not a segkit checkpoint, or is damaged: {first_line(error)}"
        ) from error
    check_tensors(state, path)
    tensors = {name.removeprefix("net."): tensor for name, tensor in state.items()}
    return tensors, normalisation, model if re.fullmatch(r"[\w-]{1,60}", model) else ""


def tensor_names(net: nn.Module, modules: Iterable[nn.Module]) -> set[str]:
    """Names, as `copy_weights` compares them, of the tensors in some modules of a network."""
    inside = {id(tensor) for module in modules for tensor in module.state_dict(keep_vars=True).values()}
    return {short_name(name) for name, tensor in net.state_dict(keep_vars=True).items() if id(tensor) in inside}
