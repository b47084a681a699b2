"""``headrace jobs enqueue``: start reading at :mod:`console.enqueue_file.run`."""
