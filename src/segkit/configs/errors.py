"""Errors as users read them."""

import re

from segkit.files.writing import DISK_FULL


def explain(error: BaseException) -> str:
    """An error's message for the user, without a worker's traceback around it."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno in DISK_FULL and "Free some space" not in text:
        text += ". Free some space, then start the command again."
    if "Traceback (most recent call last)" in text:  # raised in another process: the message follows its traceback
        return re.split(r"\n(?=\w[\w.]*(?:Error|Exception): )", text)[-1].strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Failure(str):
    """The result of a failed sweep job: the reason."""
