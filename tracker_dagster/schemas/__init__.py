"""One schema per table, and the registry of all tables."""
