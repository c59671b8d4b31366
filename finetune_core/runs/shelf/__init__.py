"""Many runs: what lists say of them, notes on them, the trash, and runs as zip files."""
