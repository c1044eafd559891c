"""How a bare device gets OctaPi: wheels that a master serves, the installer, and systemd's units."""
