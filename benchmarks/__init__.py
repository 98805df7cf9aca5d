"""Ratios against peers, each from one run, side by side on the same inputs; ``make bench`` runs them all."""
