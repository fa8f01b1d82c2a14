"""Metrics, counted in whole numbers and reduced once."""
