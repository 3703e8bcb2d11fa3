"""Consensus: whatever providers tell, one bar comes out, and it is disputed where nothing could decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.bars import Bar
from alphaloop.errors import InputError
from marketdata.feeds.consensus import Consensus

AT = datetime(2026, 3, 2, 14, 31, tzinfo=UTC)
CALM = tuple(100.0 + 0.05 * (-1) ** step for step in range(30))
CONSENSUS = Consensus()

closes = st.one_of(st.floats(1e-9, 1e12), st.sampled_from([100.0, 100.05, 101.0, 99.99, 1e5]))


def _bar(close: float, provider: str, **more: object) -> Bar:
    return Bar("X", AT, close, provider=provider, **more)  # type: ignore[arg-type]


def _bars(values: list[float]) -> list[Bar]:
    return [_bar(value, f"p{index}") for index, value in enumerate(values)]


many = st.lists(closes, min_size=1, max_size=6).map(_bars)
pasts = st.one_of(st.just(()), st.just(CALM), st.lists(closes, max_size=40).map(tuple))


@given(many, pasts)
def test_the_verdict_is_one_of_the_bars_and_the_first_if_disputed(bars, past):
    """No bar is made up: the verdict is one that was told, and a disputed one is the preferred provider's."""
    verdict = CONSENSUS.settle(bars, past)
    assert replace(verdict.bar, disputed=False) in bars
    assert verdict.bar.disputed == (verdict.rule == "none")
    if verdict.bar.disputed:
        assert verdict.bar.provider == "p0"
        assert verdict.outvoted == ()
    assert verdict.bar.provider not in verdict.outvoted


@given(closes, st.integers(3, 6), st.data())
def test_a_majority_that_tells_the_same_wins(close, count, data):
    """Where more than half tell the same to the last bit, the verdict agrees with them, whoever they are."""
    honest = set(data.draw(st.permutations(range(count)))[: count // 2 + 1])
    told = [close if index in honest else data.draw(closes) for index in range(count)]
    verdict = CONSENSUS.settle(_bars(told), CALM)
    assert not verdict.bar.disputed
    assert CONSENSUS.agree(verdict.bar, _bar(close, "truth"))


@given(closes, closes, pasts)
def test_two_who_disagree_are_told_apart_by_the_past_or_disputed(one, other, past):
    """Of two bars out of tolerance, one is believed only by the past; swapped, the same one is."""
    first, second = _bars([one, other])
    verdict = CONSENSUS.settle([first, second], past)
    if CONSENSUS.agree(first, second):
        assert (verdict.rule, verdict.bar) == ("agree", first)
        return
    assert verdict.rule in {"past", "none"}
    swapped = CONSENSUS.settle([second, first], past)
    assert swapped.rule == verdict.rule
    if verdict.rule == "past":
        assert swapped.bar == verdict.bar


@given(many, pasts, st.sampled_from([2.0**-20, 2.0**20]))
def test_the_unit_of_prices_decides_nothing(bars, past, unit):
    """All prices in another unit, the past too, have the same verdict."""
    scaled = [replace(bar, close=bar.close * unit) for bar in bars]
    one, other = CONSENSUS.settle(bars, past), CONSENSUS.settle(scaled, [close * unit for close in past])
    assert (one.rule, one.outvoted, one.bar.provider) == (other.rule, other.outvoted, other.bar.provider)


@given(closes, closes)
def test_agreement_is_mutual(one, other):
    """Who agrees with whom does not depend on who is asked."""
    left, right = _bars([one, other])
    assert CONSENSUS.agree(left, right) == CONSENSUS.agree(right, left)
    assert CONSENSUS.agree(left, left)


@pytest.mark.parametrize("garbled", [1e5, 0.1, 150.0, 60.0])
@pytest.mark.parametrize("place", [0, 1])
def test_an_absurd_price_loses_against_a_sane_one(garbled, place):
    """Of two providers the one whose close is an outlier against the past loses, preferred or not."""
    told = [100.02, 100.02]
    told[place] = garbled
    verdict = CONSENSUS.settle(_bars(told), CALM)
    assert (verdict.rule, verdict.bar.close, verdict.outvoted) == ("past", 100.02, (f"p{place}",))


def test_two_plausible_prices_are_disputed():
    """Both within what the symbol does, and apart: nothing can decide, and the preferred bar is marked."""
    verdict = CONSENSUS.settle(_bars([100.0, 100.3]), CALM)
    assert (verdict.rule, verdict.bar.close, verdict.bar.disputed) == ("none", 100.0, True)


def test_without_a_past_two_prices_apart_are_disputed():
    """A symbol of which nothing is known yet has no scale to decide by."""
    assert CONSENSUS.settle(_bars([100.0, 1e5])).bar.disputed
    assert CONSENSUS.settle(_bars([100.0, 1e5]), CALM[:5]).bar.disputed


def test_a_third_decides_for_the_preferred_of_those_it_bears_out():
    """Two of three agree: the bar is that of the more preferred of these two, the other is outvoted."""
    verdict = CONSENSUS.settle(_bars([103.0, 100.0, 100.05]))
    assert (verdict.rule, verdict.bar.provider, verdict.outvoted) == ("majority", "p1", ("p0",))


def test_three_who_all_differ_are_disputed():
    """Three plausible prices with no two alike decide nothing."""
    assert CONSENSUS.settle(_bars([100.0, 100.3, 99.6]), CALM).bar.disputed


def test_a_bar_alone_is_believed_unless_it_is_absurd():
    """One provider's bar stands, unless it is an outlier that nobody bears out."""
    assert CONSENSUS.settle(_bars([100.2]), CALM).rule == "alone"
    assert CONSENSUS.settle(_bars([1e5]), CALM).bar.disputed


def test_a_jump_that_all_tell_is_believed():
    """A crash that every provider prints is the market, however far it is from the past."""
    verdict = CONSENSUS.settle(_bars([60.0, 60.01]), CALM)
    assert (verdict.rule, verdict.bar.close) == ("agree", 60.0)


def test_only_columns_that_both_have_are_compared():
    """A close-only provider agrees with one that tells highs, and another high is a disagreement."""
    full, bare = _bar(100.0, "a", high=101.0, low=99.0), _bar(100.0, "b")
    assert CONSENSUS.agree(full, bare)
    assert not CONSENSUS.agree(full, _bar(100.0, "b", high=108.0, low=99.0))
    assert CONSENSUS.agree(full, replace(full, volume=5.0))
    assert not Consensus({"volume": 0.1}).agree(replace(full, volume=9.0), replace(full, volume=5.0))


@pytest.mark.parametrize(
    "given",
    [{"tolerances": {"price": 0.1}}, {"tolerances": {"close": 1.0}}, {"outlier": 0}, {"min_changes": 1}],
)
def test_an_impossible_consensus_is_refused(given):
    """A tolerance of no column, or a number that makes no sense, is named."""
    with pytest.raises(InputError, match=r"tolerance of|outlier is"):
        Consensus(**given)


def test_bars_of_different_moments_have_no_verdict():
    """A verdict is about one symbol and one timestamp, and about at least one bar."""
    with pytest.raises(InputError, match="not: none"):
        CONSENSUS.settle([])
    with pytest.raises(InputError, match="Y at"):
        CONSENSUS.settle([_bar(1.0, "a"), replace(_bar(1.0, "b"), symbol="Y")])
