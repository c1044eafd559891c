"""What a cluster tells of itself: traces of runs, counters, and what monitoring systems read."""
