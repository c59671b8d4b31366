"""The studio in the browser: screens (`views`) and what they share (`ui`)."""
