"""Tables on the console, and how names, numbers and times are shown in them."""

import json
from typing import TYPE_CHECKING, Any

from stepwise_cli.console import console, finite

if TYPE_CHECKING:
    from rich.table import Table


def new_table(title: str | None, *columns: str) -> "Table":
    """Make a table; a column whose name begins with `>` holds numbers."""
    from rich import box
    from rich.table import Table

    heading = f"\n[bold]{title}" if title else None
    table = Table(title=heading, title_justify="left", title_style="", box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    for name in columns:
        table.add_column(
            name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold"
        )
    return table


def print_if_filled(table: "Table") -> None:
    """Print a table that has rows."""
    if table.row_count:
        console().print(table)


def clean(text: str) -> str:
    """Make any text safe to print: control characters are shown, and `[` is no markup of rich."""
    from rich.markup import escape

    shown = (one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return escape("".join(shown))


def cell(value: Any) -> str:
    """Show a parameter."""
    return clean(value if isinstance(value, str) else json.dumps(finite(value), ensure_ascii=False))


def number(value: float) -> str:
    """Show a number: whole ones as they are, others with six digits."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def duration(seconds: float) -> str:
    """Show seconds in the two units that matter: 12s, 3m 5s, 2h 10m, 4d 1h."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
