"""What the results say: verdicts computed from results files alone, so that another number gives another verdict."""
