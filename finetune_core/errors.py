"""One class for everything that a person can mend. Anything else is a bug and keeps its traceback."""


class UserError(Exception):
    """Something went wrong that the person at the keyboard can mend.

    Pages show it as a card, the command line as two lines and exit code 2.
    """

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        """Say what happened, why, and what to try: one plain sentence each."""
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.hint) if part)

    def lines(self) -> tuple[str, str]:
        """Two lines for a terminal: what and why, then what to try."""
        return " ".join(filter(None, (self.what, self.why))), self.hint or "See `python -m finetune_core --help`."
