"""European options under Black-Scholes-Merton: where the kernels and the numpy path meet."""
