"""Pictures that are drawn, for trying things out without any data."""
