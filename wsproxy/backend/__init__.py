"""Where a session leads: target strings and how they are dialled."""
