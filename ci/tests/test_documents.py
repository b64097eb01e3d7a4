"""The documents cannot drift: every command in them exists with its options, every link leads somewhere."""

import re
from pathlib import Path

import pytest
from commands_in_documents import commands, complaint_about
from house import ROOT, files, listing

DOCUMENTS = files("*.md")
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_command_in_it_exists(document: Path) -> None:
    complaints = [
        f"{document.relative_to(ROOT)}:{command.line} `{' '.join(command.words)}`: {complaint}"
        for command in commands(document.read_text())
        if (complaint := complaint_about(command.words))
    ]
    assert not complaints, listing(complaints)


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_link_to_a_file_resolves(document: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue  # another site: no test uses the network
        name, _, heading = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (heading and heading not in headings(path)):
            broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert not broken, listing(broken)


def headings(path: Path) -> set[str]:
    """Return the anchors that a reader's page has for the headings of a Markdown file."""
    lines = re.findall(r"^#+\s+(.*?)\s*#*$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_readme_shows_how_to_start() -> None:
    shown = {" ".join(command.words[:2]) for command in commands((ROOT / "README.md").read_text())}
    assert {"make demo", "make test", "stepwise train"} <= shown


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("stepwise trian", "no command 'trian'"),
        ("stepwise --versoin", "no option --versoin"),
        ("make tests", "no target 'tests'"),
        ("make demo DEMOARGS=--smoke", "no variable 'DEMOARGS'"),
        ('make demo DEMO_ARGS="--smoke"', None),
        ("NO_COLOR=1 stepwise --help | less", None),
    ],
)
def test_a_drifted_command_would_be_noticed(line: str, complaint: str | None) -> None:
    (command,) = commands(f"```sh\n{line}\n```\n")
    assert complaint_about(command.words) == complaint
