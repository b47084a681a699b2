"""The commands of ``headrace``, one file a command."""
