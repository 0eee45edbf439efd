from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.text import printable


def test_plain_text_passes_unchanged() -> None:
    assert printable("Qwen3 30B-A3B (Q4_K_M), 通义千问 ü") == "Qwen3 30B-A3B (Q4_K_M), 通义千问 ü"


def test_control_and_bidi_characters_become_visible() -> None:
    assert printable("a\x1b[31mb\nc\r\t\x00") == r"a\x1b[31mb\nc\r\t\x00"
    assert printable("exe.\u202egpj") == r"exe.\u202egpj"
    assert printable("\u200b\ufeff\u2028\x9b\udcff") == r"\u200b\ufeff\u2028\x9b\udcff"


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert printable("abcdef", 4) == "abc…"
    assert printable("abcd", 4) == "abcd"
    assert printable("\x1b\x1b", 4) == "\\x1…"


@given(st.text())
def test_no_result_holds_anything_unprintable(text: str) -> None:
    shown = printable(text)
    assert all(character.isprintable() or character.isspace() for character in shown)
    assert not set(shown) & set("\x1b\n\r\x00\u202e\u2066\u2028")
    shown.encode("utf-8")
