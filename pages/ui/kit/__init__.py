"""The kit: what every screen is made of. It knows no screen."""
