"""The Massive client: REST, flat files, and the pure parsers of both."""
