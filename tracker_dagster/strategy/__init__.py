"""Pure decisions: suitability, lanes, picks, promotions, model comparison, position health."""
