"""Ratios against peers, each from one run, side by side on the same inputs; ``make bench`` runs them all."""

import vlm_sae_lib as vlm_sae_lib  # before torch, whose threads it teaches to wait for less long
