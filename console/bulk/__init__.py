"""Many jobs at once: results out of them, cancel them, ask them anew. Start at :mod:`console.bulk.choice`."""
