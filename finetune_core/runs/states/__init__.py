"""States: all of a run at one step, saved whole, and every way to go on from one."""
