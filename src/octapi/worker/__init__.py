"""What runs on a device: the agent, and the slots that execute jobs."""
