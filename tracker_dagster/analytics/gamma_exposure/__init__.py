"""Gamma exposure of the open interest: what the package offers, gathered."""

from tracker_dagster.analytics.gamma_exposure.contracts import COLUMNS
from tracker_dagster.analytics.gamma_exposure.flip import (
    Book,
    GammaFlip,
    book_of,
    chain_book,
    gamma_flip,
    gamma_profile,
    net_gamma,
)
from tracker_dagster.analytics.gamma_exposure.interest import (
    contradicted,
    interest_changes,
    not_renewed,
    unsteady,
)
from tracker_dagster.analytics.gamma_exposure.tables import (
    gamma_by_expiry,
    gamma_by_strike,
    gamma_exposure,
    repricing_gap,
)

__all__ = [
    "COLUMNS",
    "Book",
    "GammaFlip",
    "book_of",
    "chain_book",
    "contradicted",
    "gamma_by_expiry",
    "gamma_by_strike",
    "gamma_exposure",
    "gamma_flip",
    "gamma_profile",
    "interest_changes",
    "net_gamma",
    "not_renewed",
    "repricing_gap",
    "unsteady",
]
