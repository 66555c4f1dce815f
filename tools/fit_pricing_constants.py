"""Fit the constants of `analytics/pricing`: the Mills ratio and the first guess of a deviation.

`python -m tools.fit_pricing_constants` prints what mills.py and implied_deviation.py hold. Both
are quotients of polynomials with the smallest largest relative error: linearised least squares,
reweighted by the denominator and, after Lawson, by the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath as mp

mp.mp.dps = 60
#: Centre of the map k / (k + u) of [0, inf) to (0, 1], in which the nodes lie as Chebyshev's.
CENTRE = mp.mpf(4)


def mills_ratio(u: mp.mpf) -> mp.mpf:
    """Normal tail over normal density."""
    if u < 60:
        return mp.sqrt(mp.pi / 2) * mp.erfc(u / mp.sqrt(2)) * mp.exp(u * u / 2)
    total, term, k = mp.mpf(0), 1 / u, 0
    while abs(term) > mp.mpf(10) ** -50 / u:
        total, k = total + term, k + 1
        term *= -(2 * k - 1) / (u * u)
    return total


def value(coefficients: Sequence[mp.mpf], x: mp.mpf) -> mp.mpf:
    """The polynomial with ascending coefficients at ``x``."""
    return mp.polyval(list(reversed(coefficients)), x)


def fitted(
    rows: Callable[[mp.mpf, mp.mpf], list[mp.mpf]],
    split: Callable[[list[mp.mpf]], tuple[list[mp.mpf], list[mp.mpf]]],
    points: Sequence[tuple[mp.mpf, mp.mpf]],
    rounds: int,
) -> tuple[mp.mpf, list[mp.mpf], list[mp.mpf]]:
    """Largest relative error, numerator and denominator of the best quotient met.

    Args:
        rows: of ``x`` and ``y``, the factors of the unknowns in the linearised equation, then
            its right side.
        split: unknowns to the two polynomials.
        points: ``x`` and ``y``.
        rounds: of reweighting.
    """
    bottoms, weights = [mp.mpf(1)] * len(points), [mp.mpf(1)] * len(points)
    best: tuple[mp.mpf, list[mp.mpf], list[mp.mpf]] | None = None
    for _ in range(rounds):
        system = mp.matrix(
            [
                [mp.sqrt(weight) / (bottom * y) * factor for factor in rows(x, y)]
                for (x, y), bottom, weight in zip(points, bottoms, weights, strict=True)
            ]
        )
        factors, right = system[:, : system.cols - 1], system[:, system.cols - 1]
        unknowns = list(mp.lu_solve(factors.T * factors, factors.T * right))
        top, bottom_terms = split(unknowns)
        bottoms = [value(bottom_terms, x) for x, _ in points]
        errors = [
            abs(value(top, x) / bottom / y - 1)
            for (x, y), bottom in zip(points, bottoms, strict=True)
        ]
        if best is None or max(errors) < best[0]:
            best = max(errors), top, bottom_terms
        scale = sum(w * e for w, e in zip(weights, errors, strict=True)) / len(points)
        weights = [w * e / scale + mp.mpf(10) ** -12 for w, e in zip(weights, errors, strict=True)]
    assert best is not None
    return best


def mills_constants(degree: int = 11, nodes: int = 300) -> tuple[mp.mpf, list, list]:
    """Numerator (one degree less) and denominator in ``u``."""
    shares = [(1 - mp.cos(mp.pi * (2 * i + 1) / (2 * nodes))) / 2 for i in range(nodes)]
    points = [(v, mills_ratio(CENTRE * (1 - v) / v) / v) for v in shares]

    def rows(v: mp.mpf, y: mp.mpf) -> list[mp.mpf]:
        powers = [v**j for j in range(degree + 1)]
        return [*powers[:degree], *(-y * power for power in powers[1:]), y]

    def split(unknowns: list[mp.mpf]) -> tuple[list[mp.mpf], list[mp.mpf]]:
        return unknowns[:degree], [mp.mpf(1), *unknowns[degree:]]

    error, top, bottom = fitted(rows, split, points, 25)

    def in_u(coefficients: list[mp.mpf], power: int, first: int) -> list[mp.mpf]:
        """Coefficients in u of the sum of c_j k^(j + first) (k + u)^(power - j)."""
        out = [mp.mpf(0)] * (power + 1)
        for j, c in enumerate(coefficients):
            rest = power - j
            for i in range(rest + 1):
                out[i] += c * CENTRE ** (j + first) * mp.binomial(rest, i) * CENTRE ** (rest - i)
        return out

    top, bottom = in_u(top, degree - 1, 1), in_u(bottom, degree, 0)
    return error, [c / bottom[0] for c in top], [c / bottom[0] for c in bottom]


def guess_constants(degree: int = 4) -> tuple[mp.mpf, list, list]:
    """Squared distance over deviation of Bachelier's model, over v squared, as a quotient in v.

    The denominator has one degree more and half the numerator's last coefficient, so that the
    quotient is 2 / v far out.
    """
    near = [mp.mpf(10) ** (mp.mpf(i) / 50 - mp.mpf("3.5")) for i in range(176)]
    far = [1 + mp.mpf(38) * i / 240 for i in range(1, 241)]
    points = []
    for d in near + far:
        time_value = mp.npdf(d) * (1 - d * mills_ratio(d))
        v = mp.log(1 + d / (mp.sqrt(2 * mp.pi) * time_value))
        points.append((v, (d / v) ** 2))

    def rows(v: mp.mpf, y: mp.mpf) -> list[mp.mpf]:
        powers = [v**j for j in range(1, degree + 1)]
        factors = [*powers, *(-y * power for power in powers), y - 1]
        factors[degree - 1] -= y * v ** (degree + 1) / 2
        return factors

    def split(unknowns: list[mp.mpf]) -> tuple[list[mp.mpf], list[mp.mpf]]:
        top, bottom = unknowns[:degree], unknowns[degree:]
        return [mp.mpf(1), *top], [mp.mpf(1), *bottom, top[-1] / 2]

    error, top, bottom = fitted(rows, split, points, 60)
    return mp.sqrt(1 + error) - 1, top, bottom


def main() -> None:
    """Print both fits."""
    for name, (error, top, bottom) in (
        ("Mills ratio", mills_constants()),
        ("first guess", guess_constants()),
    ):
        print(f"{name}: relative error {mp.nstr(error, 3)}")
        for part, coefficients in (("numerator", top), ("denominator", bottom)):
            print(f"  {part}:")
            print("\n".join(f"    {float(c)!r}," for c in coefficients))


if __name__ == "__main__":
    main()
