"""Shipped tests for graph backends of other packages, and factories of test data."""
