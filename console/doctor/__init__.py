"""What ``headrace doctor`` looks at: each part tells what it found and what to do about it."""
