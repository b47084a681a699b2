"""A private Postgres, a private Valkey and the provider simulator as processes of a directory.

Start reading at :mod:`embedded.launch` (how the servers come up) and :mod:`embedded.supervisor` (the process that owns
them). :mod:`console.endpoints` says which of them a command needs.
"""
