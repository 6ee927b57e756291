"""Settings: what the program, the environment and `~/.waxell/config` say."""
