"""Tests of tracker_dagster.analytics."""
