"""Fonts for token labels: every character of a token is drawn, or named by its code, never an empty box.

Matplotlib picks a font per glyph from a list of families. The list here starts with DejaVu Sans (part of matplotlib:
Latin, Greek, Cyrillic, Vietnamese, Arabic, Hebrew), goes on with the Kurinto Sans fonts (OFL, from the
`weblate-fonts` package: Chinese, Japanese, Korean, Thai, the Indian scripts and more), and ends with whatever font of
the machine has a character that these lack. No network is used.
"""

import threading
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import weblate_fonts
from matplotlib.font_manager import FontEntry, fontManager, get_font

_MATPLOTLIB_FAMILY = "DejaVu Sans"
# The order decides which font draws a character that several have: Japanese and Simplified Chinese before the rest.
_KURINTO = ("KurintoSansJP", "KurintoSansSC", "KurintoSansTC", "KurintoSansKR", "KurintoSans")
_ZERO_WIDTH_JOINERS = "\u200c\u200d"
_STAND_INS = {" ": "␣", "\u00a0": "⍽", "\u202f": "⍽", "\n": "↵", "\t": "⇥"}
_registering = threading.Lock()


def _register(path: Path, weight: int = 400) -> str:
    """Make a font file known to matplotlib and returns its family name.

    The name is our own: the Kurinto files share a second name, under which matplotlib mixes them up.
    """
    name = f"stepwise {path.stem.partition('-')[0]}"
    with _registering:
        if all(entry.fname != str(path) or entry.name != name for entry in fontManager.ttflist):
            fontManager.ttflist.append(
                FontEntry(fname=str(path), name=name, weight=weight, stretch="normal", size="scalable")
            )
    return name


@cache
def _shipped_families() -> tuple[tuple[str, Path], ...]:
    """The families that every machine has, with their regular font files, made known to matplotlib."""
    families = [(_MATPLOTLIB_FAMILY, Path(fontManager.findfont(_MATPLOTLIB_FAMILY)))]
    folder = Path(str(files(weblate_fonts))) / "static/weblate_fonts/kurinto/ttf"
    for stem in _KURINTO:
        _register(folder / f"{stem}-Bd.ttf", weight=700)
        families.append((_register(folder / f"{stem}-Rg.ttf"), folder / f"{stem}-Rg.ttf"))
    return tuple(families)


@cache
def _family_with(character: str) -> str | None:
    """The first family with a drawable glyph for one character, or None."""
    for family, path in _shipped_families():
        if get_font([str(path)]).get_char_index(ord(character)):
            return family
    for entry in list(fontManager.ttflist):
        # "Last Resort" draws a box for everything; matplotlib's other own fonts hold mathematics under wrong codes.
        if "mpl-data" in entry.fname or "Last Resort" in entry.name or entry.weight != 400:
            continue
        if _can_draw(entry.fname, character):
            return _register(Path(entry.fname))
    return None


def _can_draw(path: str, character: str) -> bool:
    """Whether the font file has an outline for the character; fonts of coloured bitmaps have none."""
    try:
        font = get_font([path])
        if not font.get_char_index(ord(character)):
            return False
        font.set_size(10, 72)
        font.load_char(ord(character))
    except (OSError, RuntimeError):
        return False
    return True


def families_for(texts: Iterable[str]) -> list[str]:
    """Font families, in order of preference, that together draw all characters of the texts.

    Args:
        texts: labels, best as `readable_label` gives them.

    Returns:
        A list for the `family` argument of a matplotlib text.
    """
    families = [family for family, _ in _shipped_families()]
    for character in sorted({character for text in texts for character in text}):
        family = _family_with(character)
        if family is not None and family not in families:
            families.append(family)
    return families


def missing_characters(text: str) -> list[str]:
    """The characters of a text that no font at hand can draw, each once, in order of appearance."""
    return [character for character in dict.fromkeys(text) if _family_with(character) is None]


def readable_label(token: str, max_characters: int = 16) -> str:
    """A token as one line of visible characters.

    A space becomes ␣, a no-break space ⍽, a new line ↵, a tab ⇥ and the empty token ∅. A lone combining mark sits on ◌.
    Control characters, direction marks and characters that no font can draw become their code, such as U+202E.

    Args:
        token: any text, hostile text included.
        max_characters: longer labels end in "…".

    Returns:
        The label. Pass it to matplotlib with `parse_math=False`, or a "$" may be read as mathematics.
    """
    if not token:
        return "∅"
    pieces = [
        _visible(character, position, token) for position, character in enumerate(token[: max_characters + 1])
    ]
    if len(token) > max_characters:
        pieces[max_characters - 1 :] = ["…"]
    if unicodedata.category(pieces[0][0]).startswith("M"):
        pieces.insert(0, "◌")
    return "".join(pieces)


def _visible(character: str, position: int, token: str) -> str:
    if character in _STAND_INS:
        return _STAND_INS[character]
    inside = 0 < position < len(token) - 1
    if character in _ZERO_WIDTH_JOINERS and inside:
        return character  # it shapes its neighbours, as in Persian
    invisible = unicodedata.category(character)[0] in "CZ"
    if invisible or _family_with(character) is None:
        return f"U+{ord(character):04X}"
    return character


def readable_labels(tokens: Sequence[str]) -> list[str]:
    """`readable_label` for each token."""
    return [readable_label(token) for token in tokens]
