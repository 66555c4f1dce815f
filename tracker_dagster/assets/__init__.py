"""The assets: thin functions that read as of a time, call the pure rooms, write, and report."""
