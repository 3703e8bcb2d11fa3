"""The rollout document and its plan: exact shares, nested, and read back as written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.errors import DamagedStoreError, InputError
from alphaloop.forecasts import Route
from alphaloop.rollout_document import Override, RolloutDocument, RolloutKind, RolloutState
from alphaloop.settings.settings import load_settings
from alphaloop.sleeve_plan import plan_sleeves, require_share, sleeve_names

NAMES = sleeve_names(20)
words = st.text(max_size=8)
overrides = st.builds(Override, words, words, words, st.integers(0, 5))
documents = st.builds(
    RolloutDocument,
    model=words,
    champion=words,
    generation=st.integers(1, 10**6),
    state=st.sampled_from(RolloutState),
    challenger=st.none() | words,
    weight=st.floats(0, 1),
    salt=words,
    kind=st.sampled_from(RolloutKind),
    override=st.none() | overrides,
    cause=st.none() | words,
)


def _canary(weight: float, salt: str = "s") -> RolloutDocument:
    return RolloutDocument("m", "1", state=RolloutState.CANARY, challenger="2", weight=weight, salt=salt)


@given(documents)
def test_a_document_reads_back_as_it_was_written(document):
    """Through JSON and back nothing changes, the override included."""
    assert RolloutDocument.from_json(document.to_json()) == document


GOOD = RolloutDocument("equities", "1").to_json()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "{}", '{"state": "canary"}', '{"state": "x", "kind": "real"}',
        GOOD.replace('"1"', '["1"]'), GOOD.replace('"challenger": null', '"challenger": {}'),
        GOOD.replace('"generation": 1', '"generation": "1"'),
    ],
)  # fmt: skip
def test_what_is_no_document_is_a_damaged_store(text):
    """A stored document that cannot be read is named as such."""
    with pytest.raises(DamagedStoreError, match="rollout document"):
        RolloutDocument.from_json(text)


@given(st.floats(0, 1), st.text())
def test_a_canary_gets_exactly_its_share_of_sleeves(weight, salt):
    """The share is exact, for any salt, and does not depend on the order of the sleeves.

    Only a share that would cover none, or all, of them covers one more or less.
    """
    plan = plan_sleeves(_canary(weight, salt), NAMES)
    edge = 1 if 0 < weight < 0.5 else 19
    assert len(plan.canary) == (round(weight * 20) if 0.025 < weight < 0.975 or weight in {0, 1} else edge)
    assert (len(plan.canary) == 0) is (weight == 0)
    assert (len(plan.canary) == 20) is (weight == 1)
    assert plan == plan_sleeves(_canary(weight, salt), NAMES[::-1])


@given(st.floats(0, 1), st.floats(0, 1), st.text())
def test_a_larger_weight_keeps_the_sleeves_of_a_smaller(one, other, salt):
    """Growing a canary moves each sleeve at most once."""
    small, large = sorted((one, other))
    assert (
        plan_sleeves(_canary(small, salt), NAMES).canary <= plan_sleeves(_canary(large, salt), NAMES).canary
    )


def test_the_plan_says_who_answers_whom():
    """Canary sleeves are answered by the challenger, all others by the champion; without a canary, all."""
    document = _canary(0.25)
    plan = plan_sleeves(document, NAMES)
    for name in NAMES:
        inside = name in plan.canary
        assert plan.route(name) is (Route.CANARY if inside else Route.CHAMPION)
        assert plan.version(name) == ("2" if inside else "1")
    shadow = plan_sleeves(replace(document, state=RolloutState.SHADOW), NAMES)
    assert {shadow.version(name) for name in NAMES} == {"1"}
    orphan = plan_sleeves(replace(document, challenger=None), NAMES)
    assert {orphan.version(name) for name in NAMES} == {"1"}


def test_other_salts_draw_other_sleeves():
    """Each rollout has its own draw, so no sleeve is always the first to be risked."""
    assert len({plan_sleeves(_canary(0.25, str(salt)), NAMES).canary for salt in range(20)}) > 15


def test_each_change_is_a_new_generation_and_a_settled_document_is_steady():
    """Generations count up, and an ended rollout leaves nothing of the challenger behind."""
    document = _canary(0.25).next(weight=0.5)
    assert (document.generation, document.weight, document.challenger) == (2, 0.5, "2")
    assert document.settled("2") == RolloutDocument("m", "2", generation=3)


@pytest.mark.parametrize(("weight", "covered"), [(0.01, 1), (0.025, 1), (0.05, 1), (0.125, 2), (0.99, 19)])
def test_a_canary_covers_a_sleeve_and_never_all(weight, covered):
    """A share that rounds to no sleeve is no canary, and one of all leaves nobody to compare with."""
    assert len(plan_sleeves(_canary(weight), NAMES).canary) == covered


@pytest.mark.parametrize(("weight", "sleeves"), [(0.01, 20), (0.024, 20), (0.01, 40), (0.99, 20)])
def test_a_share_of_no_sleeve_is_refused(weight, sleeves):
    """The refusal names the share, the sleeves and what is possible with them."""
    with pytest.raises(InputError, match=rf"rollout.weights {weight} covers .* of {sleeves} sleeves"):
        require_share(weight, sleeves, "rollout.weights")
    require_share(0.05, sleeves, "rollout.weights")
    require_share(0.025, 60, "rollout.weights")


def test_settings_with_a_canary_of_no_sleeve_are_refused(monkeypatch):
    """Weights are judged with the number of sleeves that they are shares of."""
    monkeypatch.setenv("ALPHALOOP_ROLLOUT__WEIGHTS", "[0.01, 0.5]")
    with pytest.raises(InputError, match=r"rollout.weights 0.01 covers 0 of 20 sleeves"):
        load_settings()
    monkeypatch.setenv("ALPHALOOP_TRADING__SLEEVES", "100")
    assert load_settings().rollout.weights == (0.01, 0.5)
