"""What there is to choose, read from the files of `conf/` themselves: for `segkit list`, `--help` and completion."""
