"""``headrace jobs enqueue``: start reading at :mod:`console.intake.run`."""
