"""Commands over many jobs: export their results, cancel them, retry them. Start at :mod:`console.bulk.choice`."""
