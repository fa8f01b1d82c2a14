"""Reading and writing the annotation files of other tools: outlines and masks of objects, without the pictures."""
