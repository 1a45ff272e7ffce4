"""The report: one HTML file that shows what a store holds."""

from .page import write_report as write_report
