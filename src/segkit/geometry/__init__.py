"""Positions and windows in a picture."""
