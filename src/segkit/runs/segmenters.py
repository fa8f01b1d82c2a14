"""Load what predicts from a checkpoint, without Lightning and metrics, which take seconds to import."""

import inspect
from collections.abc import Sequence
from typing import Any

from segkit.runs.making import make
from segkit.runs.stored import Stored, explaining, make_ready, read_stored
from segkit.tasks.segmenter import Segmenter, Segments

TRAINED = ("segkit.tasks.SegmentationTask", "segkit.tasks.segmentation.SegmentationTask")  # these predict as their base
TAKEN = inspect.signature(Segmenter.__init__).parameters.keys()  # of a model's settings


def load_segmenter(run: str, trust: Sequence[str] = (), tta: str | None = None) -> Segments:
    """Load a checkpoint's network for prediction; trust, tta: as in `segkit.runs.load`. A task of a person's own is
    built whole."""
    stored = read_stored(run, trust)
    with explaining(stored):
        segmenter = build_segmenter(stored)
        expected = segmenter.state_dict()
        given = {name: tensor for name, tensor in stored.weights.items() if name in expected or name.startswith("net.")}
        segmenter.load_state_dict(given)
    make_ready(segmenter, stored, tta)
    return segmenter.eval()  # type: ignore[no-any-return]


def build_segmenter(stored: Stored) -> Any:
    model, classes = stored.config["model"], stored.facts["config"]["dataset"]["classes"]
    if model["_target_"] in TRAINED:
        kept = {key: value for key, value in model.items() if key in TAKEN}
        model = kept | {"_target_": f"{Segmenter.__module__}.{Segmenter.__name__}"}
    # `facts` must not pass through Hydra, which would instantiate the config inside
    return make(model, _partial_=True)(classes=classes, facts=stored.facts)
