"""Names that jobs find without importing anything, by the layer that their script was written for.

See :class:`octapi.pool.namespace.Namespace`.  Nothing here is imported before a fork server needs it.
"""
