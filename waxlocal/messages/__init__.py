"""What a message says, whoever formed it: one reader for what is captured, asked for and shown."""
