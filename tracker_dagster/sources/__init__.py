"""Wire clients, one folder per vendor, on one HTTP session. No dagster, duckdb or settings."""
