"""Pure numbers from frames and arrays: no decisions, no I/O, no clock of their own."""
