"""Around all screens: the server, who may come in, header and sidebar."""
