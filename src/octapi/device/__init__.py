"""The computer that a process runs on: its accounts, limits, power, sensors, network and files."""
