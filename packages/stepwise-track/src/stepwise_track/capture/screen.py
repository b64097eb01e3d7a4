"""What is left of a terminal stream once progress bars have drawn over themselves: plain lines."""

import re

from stepwise_track import limits

_CONTROL = re.compile(
    r"(\n|\r|\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-9;:?]*|\][^\x07\x1b]*)?$")


class Screen:
    """Collects the text that one stream was given, as far as lines can still change.

    A carriage return lets the next text replace the line; moving the cursor up takes lines back, as live
    displays do before they draw themselves again. Colours and other control sequences are left out.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line = ""
        self._tail = ""  # a control sequence that is not complete yet
        self._overwrite = False
        self._ups = self._live_lines = 0
        self._redrawn = False
        self._snapshot_at = 0.0
        self._shown = ""

    def write(self, text: str) -> None:
        """Add what was printed."""
        text = self._tail + text
        unfinished = _UNFINISHED.search(text[-200:])
        self._tail = unfinished[0] if unfinished else ""
        text = text[: len(text) - len(self._tail)]
        for index, part in enumerate(_CONTROL.split(text)):
            if not part:
                continue
            if index % 2:
                self._control(part)
            else:
                self._line = (part if self._overwrite else self._line + part)[: limits.CONSOLE_LINE_CHARS]
                self._overwrite, self._ups = False, 0

    def _control(self, code: str) -> None:
        if code == "\n":
            self._end_line()
        elif code == "\r":
            self._overwrite = self._redrawn = True
        elif code[0] == "\x1b" and code[-1] == "A":
            count = int(code[2:-1]) if code[2:-1].isdigit() else 1
            for _ in range(min(count, len(self._lines))):
                self._line = self._lines.pop()
            self._ups += count
            self._live_lines = min(max(self._live_lines, self._ups), limits.CONSOLE_LIVE_LINES)
            self._overwrite = self._redrawn = True
        elif code[0] == "\x1b" and code[-1] == "K":
            self._line = ""

    def _end_line(self) -> None:
        line, self._line, self._overwrite = self._line.rstrip(), "", False
        if not line or line != self._shown:
            self._lines.append(line)
        self._shown = ""

    def take(self, now: float, *, final: bool = False) -> list[str]:
        """Return the lines that will not change any more.

        What is drawn over and over is returned as it stands every `limits.CONSOLE_REDRAWN_S` seconds.

        Args:
            now: seconds, of any clock that does not go back.
            final: return everything.
        """
        due = final or (self._redrawn and now - self._snapshot_at >= limits.CONSOLE_REDRAWN_S)
        keep = 0 if due else min(self._live_lines, len(self._lines))
        taken = self._lines[: len(self._lines) - keep]
        self._lines = self._lines[len(taken) :]
        if due:
            if (line := self._line.rstrip()) and line != self._shown:
                taken.append(line)
                self._shown = line
            self._snapshot_at, self._redrawn, self._live_lines = now, False, 0
        if final:
            self._line = self._shown = ""
        return taken
