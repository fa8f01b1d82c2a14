"""The available choices, read from the files of `conf/`: for `segkit list`, `--help` and completion."""
