"""The wire: Massive's REST and S3 protocols over the seeded world, faults included."""
