"""Detectors: how suspicious an image is, compared with reference images."""
