"""What the user owns, as opposed to what the market says: events, and pure folds of them."""
