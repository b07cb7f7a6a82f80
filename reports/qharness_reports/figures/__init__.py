"""Figures of the report: pure functions from plain data to inline SVG."""
