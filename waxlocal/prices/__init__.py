"""Model prices: the price list, the file's price table, and the cost of a call."""
