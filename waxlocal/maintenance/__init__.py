"""What keeps a file in order, beside recording, delivering and asking."""
