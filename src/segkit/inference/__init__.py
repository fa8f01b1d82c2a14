"""From pictures to masks, with a task that is there."""
