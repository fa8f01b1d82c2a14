"""From pictures to masks, with a trained task."""
