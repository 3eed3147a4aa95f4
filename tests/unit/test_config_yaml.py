"""YAML is read safely: bombs, tags and doubtful texts are refused with a line, and only a ConfigError ever comes out."""

from __future__ import annotations

import contextlib
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.config.load import load
from orchestrator.config.playbooks import load_playbooks
from orchestrator.config.yaml_reader import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, MAX_NODES, Unreadable, read_bytes, read_file
from orchestrator.domain.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs"
LAUGHS = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 9)) for level in range(1, 8)
)


def refusal(content: bytes) -> list[tuple[int, str]]:
    with pytest.raises(Unreadable) as caught:
        read_bytes("x.yaml", content)
    return [(problem.line, problem.sentence) for problem in caught.value.problems]


SCALARS = [
    (b"1", 1),
    (b"-7", -7),
    (b"1.5", 1.5),
    (b"true", True),
    (b"~", None),
    (b"", None),
    (b"no", "no"),
    (b"on", "on"),
    (b"52:54:00", "52:54:00"),
    (b"010", 10),
    (b"0x10", "0x10"),
    (b"2026-11-20", "2026-11-20"),
    (b".inf", ".inf"),
    (b"'1'", "1"),
    (b'"true"', "true"),
    (b"9" * 30, "9" * 30),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_plain_values_follow_yaml_1_2(text: bytes, value: object) -> None:
    found = read_bytes("x.yaml", b"key: " + text).data
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


def test_values_are_found_by_line() -> None:
    document = read_bytes("x.yaml", b"# first\nlist:\n  - a: 1\n    b:\n      c: 2\n  - d\nlast: x\n")
    assert document.line(("list", 0, "b", "c")) == 5
    assert document.line(("list", 1)) == 6
    assert document.line(("last",)) == 7
    assert document.line(("list", 0, "missing")) == 3, "the nearest thing around it"
    assert document.line(()) == 2


REFUSED = [
    (b"a: 1\na: 2\n", 2, "the key 'a' is there twice (first on line 1)"),
    (b"a:\n  b: 1\n  b: 2\n", 3, "the key 'b' is there twice (first on line 2)"),
    (b"---\na: 1\n---\nb: 2\n", 3, "a second document begins here"),
    (b"a: !!python/object/apply:os.system [id]\n", 1, "tags ('!…') are not allowed"),
    (b"a: !secret x\n", 1, "tags ('!…') are not allowed"),
    (b"base: &b {x: 1}\nother:\n  <<: *b\n", 3, "merge keys"),
    (b"a: *nowhere\n", 1, "the alias '*nowhere' has no anchor before it"),
    (b"&a [*a]", 1, "unfold to more"),
    (b"a: " + b"[" * (MAX_DEPTH + 1), 1, f"nested deeper than {MAX_DEPTH} levels"),
    (b"- x\n" * (MAX_NODES + 1), MAX_NODES, f"more than {MAX_NODES} values"),
    (b"a: &a 1\nb: [" + b"*a," * (MAX_ALIASES + 1) + b"]", 2, f"more than {MAX_ALIASES} aliases"),
    (LAUGHS, 1, "unfold to more"),
    (b"x" * (MAX_BYTES + 1), 0, "larger than 1 MiB"),
    (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
    (b"a: 1\nb: \x07\n", 2, "a character that may not stand in a text file"),
    (b'a: "\\ud800"\n', 1, "one that Unicode does not allow"),
    (b'a: "\\0"\n', 1, "a control character"),
    (b'a: "\\UFFFFFFFF"\n', 0, "out of range"),
    (b"a: 1\nb: c: d\n", 2, "this is not YAML: mapping values are not allowed here"),
    (b"a: 1\n1: b\n", 2, "a key must be a text"),
    (b"a: 1\n? [b]\n: c\n", 2, "a key must be a text"),
    (b"", 0, "the file is empty"),
    (b"# nothing but a comment\n", 0, "the file is empty"),
]


@pytest.mark.parametrize(("content", "line", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_is_doubtful_is_refused_with_its_line(content: bytes, line: int, words: str) -> None:
    began = time.monotonic()
    found = refusal(content)
    assert any(at == line and words in sentence for at, sentence in found), found
    assert time.monotonic() - began < 5, "a refusal has to be quick"


def test_every_duplicate_key_is_named_not_only_the_first() -> None:
    assert [line for line, _ in refusal(b"a: 1\na: 2\nb: {c: 1, c: 2}\n")] == [2, 3]


def test_a_file_of_10_mb_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_bytes(b"- x\n" * 2_500_000)
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable) as caught:
            read_file(big)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "larger than 1 MiB" in caught.value.problems[0].sentence
    assert most < 3 * MAX_BYTES, "it was not even read to its end"


def test_a_few_aliases_are_fine() -> None:
    assert read_bytes("x.yaml", b"a: &n [10.0.0.53]\nb: *n\n").data == {"a": ["10.0.0.53"], "b": ["10.0.0.53"]}


# Texts close to YAML find more than random ones.
_PIECES = st.sampled_from(
    [
        "a",
        "b: ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&a ",
        "*a",
        "!x ",
        "'",
        '"',
        "\\",
        "|\n",
        ">-\n",
        "? ",
        "#",
        "%YAML 1.2\n",
        "---\n",
        "...\n",
        "<<: ",
        "\t",
        "1",
        "null",
        "@",
        "`",
        "\\x",
        "\\U0011",
        "name: vps-1\n",
        "steps:\n",
        "zones: ",
        "é",
        "\ufeff",
        "\x85",
    ]
)
_NEARLY_YAML = st.lists(_PIECES, max_size=40).map("".join).map(str.encode)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")), _NEARLY_YAML))
@example(b"%YAML " + b"9" * 5000 + b".1\n---\na: 1")
@example(b'"\\N\\_\\L\\P"')
@example(b"a: !<tag:yaml.org,2002:python/none> x")
@settings(max_examples=150, deadline=None)
def test_no_content_of_a_file_brings_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    directory = tmp_path_factory.getbasetemp() / "fuzz"
    (directory / "plans").mkdir(parents=True, exist_ok=True)
    for name in ("orchestrator.yaml", "nodes.yaml", "templates.yaml", "plans/vps-1.yaml"):
        (directory / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(directory)
    assert caught.value.details["problems"]
    for problem in caught.value.details["problems"]:
        assert f"{problem['file']}:{problem['line']}: {problem['path']}: {problem['sentence']}".encode(), "can be shown"
    with pytest.raises(ConfigError):
        load_playbooks(directory / "plans")


@given(
    file=st.sampled_from(["orchestrator.yaml", "nodes.yaml", "templates.yaml", "plans/vps-1.yaml"]),
    at=st.integers(0, 2500),
    length=st.integers(0, 40),
    piece=st.one_of(
        _NEARLY_YAML, st.sampled_from([b"0", b"-1", b"[]", b"{}", b"1e400", b"999999999999999999", b"::", b"10.0.0.0/0"])
    ),
)
@settings(max_examples=100, deadline=None)
def test_a_spoiled_file_loads_or_brings_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, file: str, at: int, length: int, piece: bytes
) -> None:
    directory = tmp_path_factory.getbasetemp() / "spoiled"
    if not directory.exists():
        shutil.copytree(SHIPPED, directory, ignore=shutil.ignore_patterns("schemas", "vps-2.yaml", "vps-plain.yaml"))
    content = (SHIPPED / file).read_bytes()
    start = at % len(content)
    (directory / file).write_bytes(content[:start] + piece + content[start + length :])
    try:
        with contextlib.suppress(ConfigError):
            assert load(directory).plans["vps-1"]
    finally:
        (directory / file).write_bytes(content)
