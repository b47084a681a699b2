"""The project's own storage/: a Django app."""
