"""tracker_dagster: options income research as a Dagster asset graph on DuckDB."""

__version__ = "0.1.0"
