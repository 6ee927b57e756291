"""Full-text search over what runs said, by an index in a file of its own."""
