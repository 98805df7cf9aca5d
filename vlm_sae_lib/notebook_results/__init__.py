"""What each notebook writes into its results file: a name for every number, with its interval and its controls."""
