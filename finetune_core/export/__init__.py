"""Taking it away: a run as something that works without Thaw."""
