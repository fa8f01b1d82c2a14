"""Scores of a task: computed, judged and shown."""
