"""Flags of earnings, dividends and splits: yes, no, and not known."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.schemas.reference import (
    CORPORATE_ACTIONS,
    EARNINGS_CALENDAR,
    REFERENCE_COLLECTIONS,
)
from tracker_dagster.strategy.events import corporate_action_flags, earnings_flags
from tracker_dagster.trading_calendar import decision_time, previous_session, session_on

DAY, EXPIRY = date(2025, 6, 9), date(2025, 6, 13)
BEFORE = previous_session(DAY)
AT, OPEN = decision_time(DAY), session_on(DAY).open
LATER = AT + timedelta(hours=3)
TICKERS = pl.DataFrame({"ticker": ["AAA", "BBB", "SPY"], "category": ["TECH", "BANK", "ETF"]})


def calendar(*rows: tuple[str, date, str], day: date = DAY, at: datetime = OPEN) -> pl.DataFrame:
    frame = pl.DataFrame(
        rows, schema={"ticker": pl.String, "report_date": pl.Date, "source": pl.String},
        orient="row",
    )  # fmt: skip
    return EARNINGS_CALENDAR.conform(
        frame, trade_date=day, report_time="amc", status="confirmed", available_at=at
    )


def collected(dataset: str, *rows: tuple[date, str, str, datetime]) -> pl.DataFrame:
    frame = pl.DataFrame(
        rows,
        schema={"trade_date": pl.Date, "subject": pl.String, "source": pl.String,
                "available_at": pl.Datetime("us", "UTC")},
        orient="row",
    )  # fmt: skip
    return REFERENCE_COLLECTIONS.conform(frame, dataset=dataset, rows_count=0)


def whole(day: date = DAY, at: datetime = OPEN, source: str = "vendor") -> pl.DataFrame:
    return collected("earnings_calendar", (day, "*", source, at))


def earnings(rows: pl.DataFrame | None, collections: pl.DataFrame | None) -> dict[str, object]:
    frame = earnings_flags(TICKERS, rows, DAY, EXPIRY, AT, 7, collections)
    assert frame["earnings_note"].null_count() == 0
    return dict(frame.select("ticker", "earnings_in_period").iter_rows())


def test_an_answer_without_any_date_is_a_no_and_no_answer_is_unknown() -> None:
    assert earnings(calendar(), whole()) == {"AAA": False, "BBB": False, "SPY": False}
    assert earnings(calendar(), whole().clear()) == {"AAA": None, "BBB": None, "SPY": False}
    assert earnings(None, None) == {"AAA": None, "BBB": None, "SPY": False}


def test_a_calendar_changed_after_the_decision_tells_who_reports_but_not_who_does_not() -> None:
    rows = calendar(("AAA", date(2025, 6, 12), "vendor"))
    assert earnings(rows, whole(at=LATER)) == {"AAA": True, "BBB": None, "SPY": False}


def test_a_calendar_known_whole_the_day_before_still_says_no() -> None:
    yesterday = calendar(("AAA", date(2025, 6, 12), "vendor"), day=BEFORE)
    both = pl.concat([whole(BEFORE), whole(at=LATER)])
    assert earnings(yesterday, both) == {"AAA": True, "BBB": False, "SPY": False}
    moved = pl.concat([yesterday, calendar(("AAA", date(2025, 7, 1), "vendor"))])
    assert earnings(moved, both)["AAA"] is False


def test_a_calendar_older_than_allowed_says_nothing() -> None:
    old = DAY - timedelta(days=10)
    rows = calendar(("AAA", date(2025, 6, 12), "vendor"), day=old)
    assert earnings(rows, whole(old)) == {"AAA": None, "BBB": None, "SPY": False}


def test_dates_of_the_own_file_stand_instead_of_the_vendors() -> None:
    rows = pl.concat(
        [
            calendar(("AAA", date(2025, 6, 12), "vendor"), ("BBB", date(2025, 6, 12), "vendor")),
            calendar(("AAA", date(2025, 6, 20), "csv")),
        ]
    )
    asked = pl.concat([whole(), whole(source="csv")])
    assert earnings(rows, asked) == {"AAA": False, "BBB": True, "SPY": False}
    assert earnings(rows, None) == {"AAA": False, "BBB": True, "SPY": False}
    # What the file says of a ticker is enough, whether or not the vendor's calendar is whole.
    unsure = pl.concat([whole(at=LATER), whole(source="csv")])
    assert earnings(rows, unsure)["AAA"] is False


def test_a_date_of_the_own_file_that_has_passed_corrects_nothing() -> None:
    rows = pl.concat(
        [
            calendar(("AAA", date(2025, 6, 12), "vendor")),
            calendar(("AAA", BEFORE, "csv"), day=BEFORE),
        ]
    )
    assert earnings(rows, None)["AAA"] is True


def actions(*rows: tuple[str, str, date, datetime], day: date = DAY) -> pl.DataFrame:
    frame = pl.DataFrame(
        rows,
        schema={"ticker": pl.String, "action": pl.String, "ex_date": pl.Date,
                "available_at": pl.Datetime("us", "UTC")},
        orient="row",
    )  # fmt: skip
    return CORPORATE_ACTIONS.conform(
        frame, trade_date=day, action_id="a", source="vendor", split_from=1.0, split_to=4.0,
        cash_amount=0.5,
    )  # fmt: skip


def parts(splits_at: datetime | None, day: date = DAY) -> pl.DataFrame:
    told = [(day, "dividends", "vendor", OPEN - timedelta(days=(DAY - day).days))]
    told += [] if splits_at is None else [(day, "splits", "vendor", splits_at)]
    return collected("corporate_actions", *told)


def flags(rows: pl.DataFrame, collections: pl.DataFrame | None) -> list[dict[str, object]]:
    frame = corporate_action_flags(TICKERS.head(2), rows, DAY, EXPIRY, AT, 7, collections)
    return frame.select("ex_dividend_in_period", "split_in_period").to_dicts()


NO, UNKNOWN = (
    {"ex_dividend_in_period": False, "split_in_period": known} for known in (False, None)
)


@pytest.mark.parametrize(("splits_at", "flag"), [(AT, NO), (LATER, UNKNOWN), (None, UNKNOWN)])
def test_no_actions_at_all_are_a_no_where_they_were_collected_in_time(splits_at, flag) -> None:
    assert flags(actions(), parts(splits_at)) == [flag, flag]


def test_a_split_announced_by_the_decision_is_seen() -> None:
    announced = actions(("AAA", "split", EXPIRY, AT))
    assert [row["split_in_period"] for row in flags(announced, parts(AT))] == [True, False]
    too_late = actions(("AAA", "split", EXPIRY, LATER))
    assert [row["split_in_period"] for row in flags(too_late, parts(LATER))] == [None, None]


def test_a_split_announced_yesterday_is_known_though_today_was_collected_too_late() -> None:
    rows = pl.concat(
        [
            actions(("AAA", "split", EXPIRY, AT - timedelta(days=3)), day=BEFORE),
            # An earlier split of the same ticker must not hide it.
            actions(("AAA", "split", date(2025, 1, 6), AT - timedelta(days=90))),
        ]
    )
    asked = pl.concat([parts(AT - timedelta(days=3), BEFORE), parts(LATER)])
    assert [row["split_in_period"] for row in flags(rows, asked)] == [True, False]


def test_a_split_behind_us_is_not_in_the_period() -> None:
    rows = actions(("AAA", "split", DAY, OPEN), ("BBB", "dividend", DAY, OPEN))
    assert flags(rows, parts(AT)) == [NO, NO]


@pytest.mark.parametrize(("currency", "said"), [(None, "USD"), ("usd", "USD"), ("cad", "CAD")])
def test_a_dividend_is_noted_in_the_currency_that_it_is_paid_in(currency, said) -> None:
    rows = actions(("AAA", "dividend", EXPIRY, AT)).with_columns(
        currency=pl.lit(currency, pl.String)
    )
    found = corporate_action_flags(TICKERS.head(1), rows, DAY, EXPIRY, AT, 7, parts(AT))
    assert found["ex_dividend_note"].to_list() == [f"{EXPIRY} (0.5 {said})"]
