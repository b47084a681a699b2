"""The service's own storage/."""
