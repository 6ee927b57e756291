"""What calls cost: the file's prices, and the list that they come from."""
