"""Plots, tables and widgets for readers."""
