from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.core.errors import InvalidTaskToken
from perdure_server.core.model import TaskKind
from perdure_server.core.token import TaskToken

URL_SAFE = string.ascii_letters + string.digits + "-._~"
NUMBERS = st.integers(min_value=0, max_value=2**60 - 1)
RUN_IDS = st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=1, max_size=255)
LEASES = {"lease": NUMBERS, "seen_seq": NUMBERS}
TOKENS = st.one_of(
    st.builds(TaskToken, RUN_IDS, st.sampled_from(TaskKind), NUMBERS, NUMBERS, **LEASES),
    st.builds(
        TaskToken,
        RUN_IDS,
        st.just(TaskKind.ACTIVITY),
        NUMBERS.map(lambda number: -number),
        NUMBERS,
        **LEASES,
    ),
)


@given(TOKENS)
def test_a_token_survives_its_text(token: TaskToken) -> None:
    text = token.encode()
    assert TaskToken.decode(text) == token
    assert set(text) <= set(URL_SAFE)


def test_the_form_is_fixed() -> None:
    token = TaskToken("run-1", TaskKind.ACTIVITY, 26, 1, lease=17, seen_seq=3)
    assert token.encode() == "1a1a.1.11.3.run-1"
    outside = TaskToken("run-1", TaskKind.ACTIVITY, -26, 1, lease=17)
    assert outside.encode() == "1x1a.1.11.0.run-1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "nonsense",
        "2a1.1.1.0.run-1",
        "1y1.1.1.0.run-1",
        "1w-1.1.1.0.run-1",
        "1a-1.1.1.0.run-1",
        "1a1.1.1.0.",
        "1a1.1.1.run-1",
        "1a1.1.1.0.run/1",
        "1a1.1.1.0.run-1\n",
        " 1a1.1.1.0.run-1",
        "1a1.1.1.0.r\u00fcn",
        "1a\u0661.1.1.0.run-1",
        "1a" + "f" * 16 + ".1.1.0.run-1",
        "1a1.1.1.0." + "r" * 256,
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidTaskToken):
        TaskToken.decode(text)


@given(st.text())
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidTaskToken):
        TaskToken.decode(text)


def test_the_field_that_holds_a_bad_token_is_named() -> None:
    with pytest.raises(InvalidTaskToken) as caught:
        TaskToken.decode("nonsense", "activity_id")
    assert caught.value.field == "activity_id"
