"""The report: runs as one HTML page that needs nothing else.

page.py        what the page shows, from the run folders, as plain values
  charts.py      curves as SVG paths
page.html.jinja  how it looks; everything that a run has named goes through its escaping
"""

from stepwise_cli.report.page import render

__all__ = ["render"]
