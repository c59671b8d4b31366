"""The network: what it consists of, layer group by layer group, and what of it learns."""
