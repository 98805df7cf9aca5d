"""A scorecard for any SAE of the pocket tower: its worth on pictures that nothing has seen, beside its rivals."""
