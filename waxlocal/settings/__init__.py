"""Settings from the program, the environment and `~/.waxell/config`."""
