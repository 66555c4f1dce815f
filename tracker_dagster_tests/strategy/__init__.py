"""Tests of tracker_dagster.strategy."""
