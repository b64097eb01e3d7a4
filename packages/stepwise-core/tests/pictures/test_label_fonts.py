"""Labels in every script: each character is drawn by a font that has it, or named by its code."""

import io
import subprocess
import sys
import unicodedata
import warnings
from datetime import date

import pytest
from babel.dates import format_date
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font

from stepwise_core.pictures.fonts import families_for, missing_characters, readable_label

# fmt: off
LANGUAGES = [
    "en", "fr", "de", "es", "it", "pt", "nl", "pl", "cs", "sv", "da", "fi", "hu", "ro", "tr",
    "el", "ru", "uk", "bg", "vi", "zh", "zh_Hant", "ja", "ko", "th", "hi", "ar", "he", "fa", "id",
]
# fmt: on


def dates_of(language: str) -> list[str]:
    days = [date(2045, month, 2 * month) for month in range(1, 13)]
    return [format_date(day, style, locale=language) for day in days for style in ("full", "medium", "short")]


def font_files(families: list[str]) -> list[FT2Font]:
    return [FT2Font(fontManager.findfont(FontProperties(family=family))) for family in families]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_character_of_every_date_has_a_glyph(language: str) -> None:
    characters = sorted({character for text in dates_of(language) for character in readable_label(text, 99)})
    maps = [font.get_charmap() for font in font_files(families_for(characters))]
    assert [one for one in characters if not any(ord(one) in charmap for charmap in maps)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_matplotlib_finds_these_glyphs(language: str) -> None:
    labels = [readable_label(text, 99) for text in dates_of(language)[:6]]
    figure = Figure()
    for label in labels:
        figure.text(0, 0.5, label, family=families_for(labels), parse_math=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph … missing from font(s) …"
        figure.savefig(io.BytesIO(), format="png")
        figure.savefig(io.BytesIO(), format="svg")


def test_each_family_is_another_file() -> None:
    """The Kurinto fonts share a second family name, under which matplotlib would take one for all."""
    families = families_for(["年월ก"])
    files = {fontManager.findfont(FontProperties(family=family)) for family in families}
    assert len(files) == len(families)


def test_bold_titles_keep_their_glyphs(caplog: pytest.LogCaptureFixture) -> None:
    figure = Figure()
    figure.text(0, 0.5, "年 월 ก", family=families_for(["年월ก"]), fontweight="bold")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    assert caplog.text == ""  # "Failed to find font weight bold …"


@pytest.mark.parametrize(
    ("token", "label"),
    [
        ("年", "年"),
        ("tháng", "tháng"),
        ("", "∅"),
        (" ", "␣"),
        ("New York", "New␣York"),
        ("\u00a0", "⍽"),
        ("\n", "↵"),
        ("\t", "⇥"),
        ("\x00", "U+0000"),
        ("\u202eabc", "U+202Eabc"),
        ("\u0301", "◌\u0301"),
        ("\ud800", "U+D800"),
        ("\U0010ffff", "U+10FFFF"),
        ("\U00012000", "U+12000"),  # cuneiform: in no font at hand
        ("سه\u200cشنبه", "سه\u200cشنبه"),  # a joiner that shapes its neighbours stays
        ("\u200c", "U+200C"),
        ("$x_1$", "$x_1$"),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmno…"),
        ("abcdefghijklmnop", "abcdefghijklmnop"),
    ],
)
def test_label_of(token: str, label: str) -> None:
    assert readable_label(token) == label


@given(st.text(st.characters(), max_size=20))
def test_any_label_is_visible_and_drawable(token: str) -> None:
    label = readable_label(token)
    assert label
    assert missing_characters(label) == []
    assert [c for c in label if unicodedata.category(c)[0] in "CZ" and c not in "\u200c\u200d"] == []


def test_dollars_are_no_mathematics() -> None:
    figure = Figure()
    text = figure.text(0, 0.5, readable_label(r"$\frac{$"), family=families_for("$"), parse_math=False)
    figure.savefig(io.BytesIO(), format="png")  # as mathematics this raises
    assert text.get_text() == r"$\frac{$"


def test_importing_pictures_leaves_pyplot_alone() -> None:
    program = (
        "import sys; import stepwise_core.pictures.heatmaps, stepwise_core.pictures.curves; "
        "print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False False\n"
