"""The ``octapi`` command, one file a group of commands."""
