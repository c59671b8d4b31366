"""Lessons: claims of the articles that one guesses about, runs in a minute, and sees measured."""

from finetune_core.lessons import data, heads, rates, regularisation, schedules, thawing
from finetune_core.lessons.base import ARTICLES, Answer, Lesson, of_run

__all__ = ["ARTICLES", "Answer", "Lesson", "data", "heads", "of_run", "rates", "regularisation", "schedules", "thawing"]
