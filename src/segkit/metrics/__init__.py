"""Metrics, computed once from integer counts."""
