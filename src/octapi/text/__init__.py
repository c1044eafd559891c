"""What people read: on stderr, with nothing in it that acts on a terminal, in words instead of numbers."""
