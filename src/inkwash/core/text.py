"""Text from outside, such as names of columns, classes and files, made fit to be shown, or to be typed in a shell."""

import shlex
import unicodedata

_DIGITS, _LETTERS = 40, 400
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_HARMLESS = "\n\t\u200c\u200d"  # the joiners are part of how some scripts are written


def visible(text: str) -> str:
    """Text with an escape such as `\\x1b` in the place of each character that steers a terminal or a page.

    These are control characters, surrogates, separators of lines, and the marks that change the direction of writing.
    """
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN and c not in _HARMLESS else c for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def shortened(got: object) -> str:
    """A value in words that fit on a line: of an integer at most 40 digits, and of other things 400 letters."""
    if isinstance(got, int) and abs(got) >= 10**_DIGITS:
        return f"an integer of more than {_DIGITS} digits"
    text = str(got)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS // 2]} … {text[-_LETTERS // 2 :]}"


def typed(*words: object) -> str:
    """A command of inkwash as a user can type it: words that a shell would divide or expand are quoted."""
    return shlex.join(["inkwash", *map(str, words)])
