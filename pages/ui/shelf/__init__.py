"""Many runs: listed, compared, kept."""
