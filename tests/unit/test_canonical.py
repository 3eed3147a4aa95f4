from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.canonical import canonical_json, digest

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def _shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(item) for key, item in reversed(value.items())}
    return [_shuffled(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_it_reads_back_as_the_same_value_and_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(_shuffled(value)) == text


def test_the_form_is_fixed() -> None:
    assert canonical_json({"b": [1, None, True], "a": "ü\n"}) == '{"a":"ü\\n","b":[1,null,true]}'.encode()
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize("value", [1.0, {"a": [0.5]}, {1: "a"}, b"bytes", {"a"}, object(), {"a": {2: "b"}}])
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_floats_pass_only_where_they_are_allowed_and_never_as_nan() -> None:
    assert canonical_json({"a": 0.5}, floats=True) == b'{"a":0.5}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"), floats=True)


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical_json("\ud800")


def test_tuples_are_written_as_lists() -> None:
    assert canonical_json(("a", 1)) == b'["a",1]'


def test_read_only_mappings_are_refused_like_any_value_that_json_cannot_write() -> None:
    value: Mapping[str, int] = MappingProxyType({"a": 1})
    with pytest.raises(TypeError):
        canonical_json(value)
