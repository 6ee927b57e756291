"""What has been delivered to which server, and what has not: the tables behind the upload."""
