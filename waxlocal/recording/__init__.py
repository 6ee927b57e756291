"""Recording: every record is one committed statement, or kept and tried again."""
