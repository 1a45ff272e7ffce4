"""Checks of users' queries: a query only reads, can be stopped, and has the same answer on every engine."""
