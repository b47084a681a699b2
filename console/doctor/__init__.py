"""The checks of ``headrace doctor``: each part reports what it found and how to fix it."""
