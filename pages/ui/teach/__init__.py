"""Lessons before a class or alone: guess, measure, see."""
