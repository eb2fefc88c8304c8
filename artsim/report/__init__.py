"""report.html: what an evaluation found, told as one page that opens offline.

The page is a story in sections. Each has a module here, which says what it shows in a sentence and gathers its tables
and plots, and a template of the same name in templates/. Every scorer has one colour in all plots and tables.
"""

from artsim.report.content import Evaluation, Example
from artsim.report.page import write_report

__all__ = ["Evaluation", "Example", "write_report"]
