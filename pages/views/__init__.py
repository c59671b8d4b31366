"""One script per screen: read the draft, draw, write the draft."""
