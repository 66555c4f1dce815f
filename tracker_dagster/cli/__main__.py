"""``python -m tracker_dagster.cli``."""

from tracker_dagster.cli import main

main()
