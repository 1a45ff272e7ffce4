"""The API under `/api/1`: a module for each page."""
