"""Delivers what waxlocal has recorded: the uploader, and the daemon around it."""
