"""From settings with a `_target_` to objects: the only place that instantiates."""

import difflib
import re
import sys
from collections.abc import Mapping
from typing import Any

import hydra
from hydra.errors import InstantiationException


def make(settings: Mapping[str, Any], **more: Any) -> Any:
    """Instantiate a config with `_target_`; errors raised inside come through without Hydra's wrapping."""
    try:
        return hydra.utils.instantiate(dict(settings), _convert_="all", **more)
    except InstantiationException as error:
        if error.__cause__ is not None and str(error).startswith("Error in call"):
            raise error.__cause__ from None
        why = suggest_target(str(error)) or (f"\n{error.__cause__}" if error.__cause__ else "")
        raise ValueError(
            str(error).replace(", set env var HYDRA_FULL_ERROR=1 to see chained exception", "") + why
        ) from None


def suggest_target(error: str) -> str:
    """Suggest close names for a target that Hydra did not find."""
    found = re.search(r"Error locating target '([\w.]+)\.(\w+)'", error)
    module = sys.modules.get(found[1]) if found else None
    near = difflib.get_close_matches(found[2], dir(module), 3) if found and module else []
    return f"\nDid you mean {', '.join(near)}?" if near else ""
