"""Shipped tests and factories: what a graph backend of your own must pass, and data to try it on."""
