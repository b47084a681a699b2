"""A private Postgres, a private Valkey and the provider simulator as processes of a directory.

Start reading at :mod:`embedded.launch` (how the servers come up) and :mod:`embedded.keeper` (the process that owns
them). Which of them a command needs is told by :mod:`console.endpoints`.
"""
