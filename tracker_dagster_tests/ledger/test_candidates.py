from datetime import UTC, datetime, timedelta

import pytest

from tracker_dagster.ledger.candidates import (
    Proposal,
    approve,
    candidates_as_of,
    propose,
    reject,
)
from tracker_dagster.ledger.commands import LedgerError, add, disable
from tracker_dagster.ledger.events import CandidateProposed, UniverseListed, events_frame
from tracker_dagster.ledger.folds import listed_since, universe_as_of
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.warehouse import Warehouse

NOW = datetime(2026, 11, 18, 20, 50, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "x.duckdb")


def statuses(store, moment=NOW):
    rows = candidates_as_of(store.read(LEDGER), moment)
    return dict(rows.select("ticker", "status").iter_rows())


def members(store, moment=NOW):
    return universe_as_of(store.read(LEDGER), moment).rows()


@pytest.mark.feature(3)
def test_a_candidate_joins_the_universe_when_it_is_approved_and_not_before(store):
    proposal = Proposal("ko ", "screen", "dividends", "STAPLES", 7.5, "The Coca-Cola Company")
    assert propose(store, [proposal], NOW, "me") == ["KO"]
    assert members(store) == []
    later = NOW + HOUR
    assert approve(store, "ko", later, "boss", reference="looked up") == "STAPLES"
    assert members(store, later) == [("KO", "STAPLES", True)]
    assert members(store) == []
    assert listed_since(store.read(LEDGER), later) == {"KO": later}
    (row,) = candidates_as_of(store.read(LEDGER), later).to_dicts()
    assert row == {
        "ticker": "KO",
        "status": "approved",
        "category": "STAPLES",
        "source": "screen",
        "reason": "dividends",
        "score": 7.5,
        "reference": "The Coca-Cola Company",
        "proposed_at": NOW,
        "proposed_by": "me",
        "decided_at": later,
        "decided_by": "boss",
        "note": None,
    }
    # Everything is on record, each change as an event of its own.
    kinds = store.read(LEDGER).sort("effective_at", "kind")["kind"].to_list()
    assert kinds == ["candidate_proposed", "candidate_approved", "universe_listed"]
    revisions = store.read(LEDGER)["payload"].str.json_path_match("$.revision")
    assert sorted(revisions) == ["0", "1", "2"]


@pytest.mark.feature(3)
def test_a_candidate_that_was_turned_down_stays_out_and_may_come_again(store):
    propose(store, [Proposal("KO", "me")], NOW, "me")
    reject(store, "KO", NOW, "boss", "too dull")
    assert statuses(store) == {"KO": "rejected"}
    assert candidates_as_of(store.read(LEDGER), NOW)["note"].to_list() == ["too dull"]
    with pytest.raises(LedgerError, match=r"KO is no candidate that waits \(waiting: none\)"):
        approve(store, "KO", NOW, "boss")
    assert propose(store, [Proposal("KO", "me")], NOW, "me") == ["KO"]
    assert statuses(store) == {"KO": "proposed"}
    assert approve(store, "KO", NOW, "boss") == "UNCATEGORIZED"
    assert members(store) == [("KO", "UNCATEGORIZED", True)]


def test_a_proposal_is_recorded_once_and_again_where_it_says_something_else(store):
    propose(store, [Proposal("KO", "me"), Proposal("PEP", "me")], NOW, "me")
    before = store.read(LEDGER)
    assert propose(store, [Proposal("KO", "me"), Proposal("PEP", "me")], NOW + HOUR, "me") == []
    assert store.read(LEDGER).equals(before)
    assert propose(store, [Proposal("KO", "me", score=2.0)], NOW + HOUR, "me") == ["KO"]
    assert candidates_as_of(store.read(LEDGER), NOW + HOUR)["score"].to_list() == [2.0, None]


@pytest.mark.parametrize(
    ("proposals", "words"),
    [
        ([Proposal("KO", "me"), Proposal("SPY", "me")], "SPY is in the universe already, as ETF"),
        ([Proposal("KO", "me"), Proposal("ko", "me")], "KO is proposed twice"),
        ([Proposal("KO", "me"), Proposal("K O", "me")], "not a ticker: 'K O'"),
    ],
)
def test_of_several_proposals_all_are_taken_or_none(store, proposals, words):
    add(store, "SPY", NOW, "me", "ETF")
    disable(store, "SPY", NOW, "me")
    with pytest.raises(LedgerError, match=words):
        propose(store, proposals, NOW, "me")
    assert statuses(store) == {}


def test_categories_of_candidates_are_upper_case_and_nothing_said_is_empty(store):
    propose(store, [Proposal("KO", "me", category=" staples "), Proposal("PEP", "me")], NOW, "me")
    assert candidates_as_of(store.read(LEDGER), NOW)["category"].to_list() == ["STAPLES", None]
    with pytest.raises(LedgerError, match="a category cannot be empty"):
        approve(store, "PEP", NOW, "me", "  ")
    assert approve(store, "PEP", NOW, "me", "drinks") == "DRINKS"
    for proposal, words in (
        (Proposal("VOO", "me", category=" "), "a category cannot be empty"),
        (Proposal("VOO", " "), "is no source"),
        (Proposal("VOO", "me", reason=" "), "is no reason"),
        (Proposal("VOO", "me", score=float("nan")), "is no score"),
    ):
        with pytest.raises(LedgerError, match=words):
            propose(store, [proposal], NOW, "me")
    with pytest.raises(LedgerError, match="is no reason"):
        reject(store, "KO", NOW, "me", " ")
    assert statuses(store) == {"KO": "proposed", "PEP": "approved"}


def test_an_older_proposal_in_lower_case_is_approved_in_upper_case(store):
    old = CandidateProposed(
        ticker="VOO", source="me", category="etf", effective_at=NOW, recorded_at=NOW, actor="me"
    )
    store.append_events(events_frame([old]))
    assert candidates_as_of(store.read(LEDGER), NOW)["category"].to_list() == ["etf"]
    assert approve(store, "VOO", NOW, "me") == "ETF"
    assert members(store) == [("VOO", "ETF", True)]


def test_a_candidate_that_was_added_by_hand_meanwhile_is_not_approved_as_well(store):
    propose(store, [Proposal("KO", "me", category="STAPLES")], NOW, "me")
    add(store, "KO", NOW, "me", "DRINKS")
    with pytest.raises(LedgerError, match="in the universe already, as DRINKS"):
        approve(store, "KO", NOW, "boss")
    assert members(store) == [("KO", "DRINKS", True)]


def test_at_a_stopped_clock_the_last_word_counts(store):
    for _ in range(3):
        propose(store, [Proposal("KO", "me")], NOW, "me")
        assert statuses(store) == {"KO": "proposed"}
        reject(store, "KO", NOW, "me")
        assert statuses(store) == {"KO": "rejected"}


def test_what_was_recorded_later_was_not_known_then(store):
    propose(store, [Proposal("KO", "me")], NOW, "me")
    reject(store, "KO", NOW + HOUR, "me")
    ledger = store.read(LEDGER)
    known = candidates_as_of(ledger, NOW + HOUR, known_at=NOW)
    assert known["status"].to_list() == ["proposed"]
    assert candidates_as_of(ledger, NOW - HOUR).is_empty()


def test_where_a_member_came_from_is_in_its_event_and_does_not_change_older_identities(store):
    add(store, "KO", NOW, "me", "STAPLES", reference="unchecked")
    (payload,) = store.read(LEDGER)["payload"]
    assert payload == ('{"category":"STAPLES","reference":"unchecked","revision":0,"ticker":"KO"}')
    plain = UniverseListed(
        ticker="KO", category="STAPLES", effective_at=NOW, recorded_at=NOW, actor="me"
    )
    assert plain.payload == {"category": "STAPLES", "revision": 0, "ticker": "KO"}
