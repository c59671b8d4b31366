"""Around all screens: the server, who may come in, the sidebar."""
