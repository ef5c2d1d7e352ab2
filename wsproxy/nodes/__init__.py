"""What nodes of a cluster tell each other of sessions: whose access was revoked, and which there are."""
