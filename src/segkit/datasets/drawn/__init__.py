"""Drawn pictures, for experiments without any data."""
