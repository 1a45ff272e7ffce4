"""The report: one HTML file with the contents of a store."""

from .page import write_report as write_report
