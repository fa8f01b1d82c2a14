"""Losses of logits against integer masks. Configs use the names of these modules."""

from segkit.losses.overlap import MCC, ClDice, Dice, Lovasz, Tversky
from segkit.losses.pixels import BCE, L1, MSE, CrossEntropy, Focal
from segkit.losses.presence import Presence
from segkit.losses.sums import BCEDice, Combo, Joint

__all__ = [
    "BCE",
    "L1",
    "MCC",
    "MSE",
    "BCEDice",
    "ClDice",
    "Combo",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Joint",
    "Lovasz",
    "Presence",
    "Tversky",
]
