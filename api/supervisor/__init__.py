"""
All of Rainmaker on one machine, from one command.

    run.py        the order: checks, Postgres, schema, broker, demo, then API, worker and beat; and the way back
    parts.py      processes that are started, watched, started again and stopped
    broker.py     a Redis of our own, when no broker is given
    checks.py     what would go wrong later, said first
    welcome.py    what is printed once everything is healthy
"""
