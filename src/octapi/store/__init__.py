"""What survives on the master, in one SQLite database: runs, outcomes that wait, nodes' history, the story of runs.

    schema    the tables, and the steps from each version to the next
    place     where the database lies, and to whom it belongs
    writer    the one writer: groups changes, and goes on when the disk does not
    runs      a run and its states (pure)
    nodes     who was in the cluster, and how they were
    outcomes  what clients that are gone have not fetched yet
    story     what the page tells of a run, in small pieces
    reader    reading, also from another process

The scheduler's process writes; everybody else opens the database read-only (:class:`octapi.store.reader.Reader`).
"""
