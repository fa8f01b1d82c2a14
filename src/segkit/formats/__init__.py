"""Annotation files of other tools, read and written: outlines and masks of objects, without pictures."""
