"""What lets a program that imports `waxell_observe` run unchanged; see `waxlocal run`."""
