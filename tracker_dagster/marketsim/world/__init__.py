"""The seeded world: what is true in the simulated market, with no word about protocols."""
