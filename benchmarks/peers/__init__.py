"""Headrace beside plain dramatiq, Celery, Procrastinate and taskiq: same machine, same services, rounds in turns.

    make bench-peers                                     installs the others, runs all of this, draws the plots
    python -m benchmarks.peers.start_latency             from the enqueue call to the job's start, idle
    python -m benchmarks.peers.enqueue                   one by one
    python -m benchmarks.peers.consume                   no-op jobs a second
    python -m benchmarks.peers.noisy_neighbour           quiet tenants beside a flood

Each takes ``--json FILE`` (appends its figures there, for ``python -m benchmarks.plots``) and ``--only NAME …``.

Each peer is one small file, ``on_<name>.py``, set up as its documentation shows; where there is a choice, a message is
acknowledged after the job and not before, so that a killed worker loses nothing, as with ours. The job is
:func:`benchmarks.peers.job.run`. What differs is said by each side's ``promise``: Redis's memory forgets in a crash, a
commit does not.
"""
