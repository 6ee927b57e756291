"""The Waxell protocol: what goes over the wire, both directions side by side. Pure functions."""
