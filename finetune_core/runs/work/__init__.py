"""At work on a run: the process that does its job, what it hears, what it tells others, how it ends."""
