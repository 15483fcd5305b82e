"""No value can leave the place in a daemon's file that a template gives it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers import text
from renderers.boot import ipxe
from renderers.dhcp.kea_options import option as _option
from renderers.kea import include

ANY = st.text() | st.text(alphabet="ab\"'\\#;{}()%$,|& \t\n\r\0\x7f\u0085\u2028é<?>/", max_size=12)
WORDS = [text.squid, text.dnsmasq, text.chrony, text.radvd, text.rsyslog, text.ipxe]
ALL = list(text.FILTERS.values())


def _quoted(quote, value):  # type: ignore[no-untyped-def]
    try:
        return quote(value)
    except ValueError:
        return None


@pytest.mark.parametrize("quote", ALL, ids=lambda quote: quote.__name__)
@given(value=ANY)
def test_no_filter_lets_a_line_end_or_control_character_pass(quote, value) -> None:  # type: ignore[no-untyped-def]
    """What a filter returns is printable ASCII on one line."""
    quoted = _quoted(quote, value)

    assert quoted is None or (quoted.isascii() and quoted.isprintable())


@pytest.mark.parametrize("quote", WORDS, ids=lambda quote: quote.__name__)
@given(value=ANY)
def test_a_word_stays_one_word_and_itself(quote, value) -> None:  # type: ignore[no-untyped-def]
    """A filter for words changes nothing and returns nothing that is empty, split at blanks, a comment or a quote."""
    quoted = _quoted(quote, value)
    if quoted is not None:
        assert value == quoted
        assert [quoted] == quoted.split()
        assert not set("\"'\\#{}<>|$` ") & set(quoted)


@given(value=ANY)
def test_named_strings_end_where_they_should(value: str) -> None:
    """A string for named.conf is the value between the only two quotes, with no escapes."""
    quoted = _quoted(text.named, value)
    if quoted is not None:
        assert (f'"{value}"', 2, 0) == (quoted, quoted.count('"'), quoted.count("\\"))


@given(value=ANY)
def test_ipxe_words_join_no_commands(value: str) -> None:
    """iPXE joins commands with && and ||; neither can come from a value."""
    quoted = _quoted(text.ipxe, value)

    assert quoted is None or not any(mark in quoted for mark in ("&&", "||", "${", " "))


@given(value=ANY)
def test_kea_options_hold_one_value_each(value: str) -> None:
    """The text form of a DHCP option has as many values as were given, and no mark of an include."""
    try:
        option = _option("domain-name", value, "x")
    except ValueError:
        return

    assert [value, "x"] == str(option["data"]).split(", ")
    assert "\\u0000" not in json.dumps(option)


@given(value=ANY)
def test_kea_includes_only_plain_paths(value: str) -> None:
    """A path that could end the include early is refused."""
    try:
        mark = include(f"/{value}")
    except ValueError:
        return

    assert not set('"?>\n\\') & set(mark)


@given(value=ANY)
def test_kernel_options_stay_one_word(value: str) -> None:
    """An option for the kernel's command line is one word, which iPXE neither expands nor splits."""
    machine = ipxe.Ephemeral("10.20.0.1", 5248, "a" * 32, "0" * 64, "1" * 64, "2" * 64, kernel_options=(value,))
    try:
        words = ipxe.command_line(machine)
    except ValueError:
        return

    assert value == words[-1]
    assert len(words) == len(" ".join(words).split())


@pytest.mark.parametrize("value", [True, None, 1.5, b"x", ["x"]])
def test_only_text_and_whole_numbers_are_written(value: object) -> None:
    """Other types are refused by name instead of being printed as Python prints them."""
    with pytest.raises(ValueError, match="only text and whole numbers"):
        text.plain(value)
