"""The generated reference pages say what the code says."""

from make_reference import outdated


def test_reference_pages_are_up_to_date() -> None:
    assert outdated() == [], "run: python ci/make_reference.py"
