"""What the commands do around the graph: the market process, Dagster runs, locks, status.

No numbers of the market domain here, and no Typer: `cli` parses and prints, this room acts.
"""
