"""Scores of a task, and what is said and shown of them."""
