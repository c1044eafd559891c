"""Who may do what: the authority, tokens, joining, roles, and certificates for TLS and SSH."""
