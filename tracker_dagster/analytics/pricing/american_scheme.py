"""The early exercise boundary of a put: where it is solved for and how the premium is integrated.

Everything is about a put on a strike of one whose time to expiry is one: it is given by the
logarithm of the spot, the deviation (volatility times the root of time), and what rate and yield
amount to over its life. A call is the put with spot and strike, rate and yield exchanged
(McDonald and Schroder, A parity result for American options, Journal of Computational Finance
1998).

The premium of early exercise is an integral over the boundary (Kim 1990; Jacka 1991; Carr, Jarrow
and Myneni 1992), and the boundary the fixed point of an equation in such integrals (L. Andersen,
M. Lake and D. Offengenden, High-performance American option pricing, Journal of Computational
Finance 2016; their section 4). From them: the squared logarithm of the boundary is interpolated in
the root of time; the start is the quadratic approximation QD+ (M. Li, Analytical approximations
for the critical stock prices of American options, 2009). Unlike them:

* Time is the squared sine of an angle, both in the equation and in the premium. That removes the
  singularity of the boundary at expiry as well as that of the integrand now, and with a few
  points of Gauss and Legendre the error falls exponentially.
* Their equation A converges fast but not at all where the drift is strong against the deviation;
  there their equation B takes over, between `CALM_DRIFT` and `STRONG_DRIFT` gradually.
* The premium is that of a boundary that stays where it is now, in closed form, plus the integral
  of the difference. That keeps value, delta and gamma right next to the boundary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Times at which the boundary is solved for.
NODES = 6
#: Points of the integrals in the boundary's equation.
EQUATION_POINTS = 6
#: Points of the premium's integral.
PREMIUM_POINTS = 10
#: The same of a premium that is earned after a delay, and not set against a flat boundary's.
DELAYED_POINTS = 16
#: Newton steps towards the approximation from which the boundary starts.
START_STEPS = 3
#: Times the boundary's equation is applied.
EQUATION_STEPS = 3
#: Drift over deviation up to which equation A alone is used, and from which B alone.
CALM_DRIFT, STRONG_DRIFT = 0.6, 1.2
#: Largest change of the boundary's logarithm in a Newton step.
LARGEST_STEP = 0.5
#: Under this rate times time its exponential is taken from a series.
SERIES_RATE = 1e-3
#: Least share of the deviation that the root in the flat boundary's premium counts as.
SMALLEST_ROOT = 1e-9


class Scheme(NamedTuple):
    """Nodes, points and weights.

    Attributes:
        roots: of the time to expiry at the nodes, from the longest, shape (nodes,). At expiry
            the boundary is known.
        lag_roots: of the time from a node to the points of its integral, over the node's own,
            shape (points,).
        lag_weights: of those points, shape (points,).
        lag_interpolation: from squared logarithms at the nodes to those at the points; the points
            of a node are consecutive rows, shape (nodes x points, nodes).
        premium_roots: of the time from now to the premium's points, shape (points,).
        premium_weights: of those points, shape (points,).
        premium_interpolation: likewise, shape (points, nodes).
    """

    roots: np.ndarray
    lag_roots: np.ndarray
    lag_weights: np.ndarray
    lag_interpolation: np.ndarray
    premium_roots: np.ndarray
    premium_weights: np.ndarray
    premium_interpolation: np.ndarray


def _interpolation(nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Barycentric interpolation between Chebyshev's extrema; shape (points, nodes)."""
    weights = (-1.0) ** np.arange(len(nodes))
    weights[[0, -1]] *= 0.5
    quotients = weights / (points[:, None] - nodes)
    return quotients / quotients.sum(axis=1, keepdims=True)


def scheme(
    nodes: int = NODES,
    equation_points: int = EQUATION_POINTS,
    premium_points: int = PREMIUM_POINTS,
) -> Scheme:
    """The scheme of so many nodes and points."""
    extrema = np.cos(np.arange(nodes + 1) * np.pi / nodes)
    roots = 0.5 * (1.0 + extrema[:-1])

    def between(points: np.ndarray) -> np.ndarray:
        # Distances are counted from the boundary at expiry, so its column is multiplied by zero.
        return np.ascontiguousarray(_interpolation(extrema, 2.0 * points - 1.0)[:, :-1])

    points, weights = np.polynomial.legendre.leggauss(equation_points)
    angles = 0.25 * np.pi * (1.0 + points)
    lag_roots, lag_weights = np.sin(angles), 0.5 * np.pi * weights * np.cos(angles)
    lag_interpolation = between(np.outer(roots, np.cos(angles)).ravel())

    points, weights = np.polynomial.legendre.leggauss(premium_points)
    angles = 0.25 * np.pi * (1.0 + points)
    premium_roots = np.sin(angles)
    premium_weights = 0.5 * np.pi * weights * np.sin(angles) * np.cos(angles)
    return Scheme(
        roots,
        lag_roots,
        lag_weights,
        lag_interpolation,
        premium_roots,
        premium_weights,
        between(np.cos(angles)),
    )
