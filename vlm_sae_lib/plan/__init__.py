"""What a run will fetch, hold and take, counted before it starts."""
