"""Canonical JSON: one text for one value, and nothing in it that a hash could not rely on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import canonical, sha256

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def test_keys_stand_in_the_order_of_their_code_points() -> None:
    """Upper case before lower, and an astral character after everything of the basic plane."""
    value = {"b": 1, "a": 2, "Z": 3, "é": 4, "\U0001f600": 5, "\uffff": 6}

    text = canonical({**value})

    assert text == '{"Z":3,"a":2,"b":1,"é":4,"\uffff":6,"\U0001f600":5}'


def test_nothing_is_escaped_that_need_not_be() -> None:
    """Letters stay letters; control characters take their short form where there is one."""
    assert canonical('é"\\/\b\f\n\r\t\x01\x7f\u2028') == '"é\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\u2028"'


def test_there_are_no_spaces() -> None:
    """Neither after a colon nor after a comma."""
    assert canonical({"a": [1, True, None, -2], "b": {}}) == '{"a":[1,true,null,-2],"b":{}}'


@given(VALUES)
def test_the_text_says_the_value(value: object) -> None:
    """Reading the text back gives the value."""
    assert json.loads(canonical(value)) == value  # type: ignore[arg-type]  # hypothesis gives object


@given(st.dictionaries(TEXTS, st.integers()))
def test_the_order_of_writing_does_not_matter(value: dict[str, int]) -> None:
    """Equal dictionaries have equal texts, whatever was put in first."""
    backwards = dict(reversed(value.items()))

    assert canonical({**value}) == canonical({**backwards})


@pytest.mark.parametrize(
    "value", [1.0, [1, {"a": 0.5}], {1: "a"}, {"a": {None: 1}}, (1,), {"a": {1}}, b"x", float("nan")]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """Fractions, keys that are not text, and what JSON does not know, however deep."""
    with pytest.raises(TypeError):
        canonical(value)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("value", ["\0", ["\0"], {"a\0": 1}, "\ud800", {"\udfff": 1}])
def test_text_that_no_database_keeps_is_refused(value: object) -> None:
    """NUL and lone surrogates, in keys too."""
    with pytest.raises(ValueError, match="canonical JSON"):
        canonical(value)  # type: ignore[arg-type]  # that is the point


def test_a_hash_is_that_of_the_utf_8_bytes() -> None:
    """Text and its UTF-8 bytes have the same SHA-256."""
    assert sha256("é") == sha256("é".encode())
    assert sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
