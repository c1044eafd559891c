"""What goes between processes: frames, kinds of outcomes, records, and the checked readers of all of it."""
