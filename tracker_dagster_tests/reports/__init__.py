"""Tests of tracker_dagster.reports."""
