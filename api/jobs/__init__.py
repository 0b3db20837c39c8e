"""
How work comes in that nobody waits for.

    kit.py        registering jobs and carrying them out
    process.py    event loop, pool and engine of a worker or beat process
    worker.py     Celery: one generic task that is told the number of a promise
    relay.py      from the outbox to the broker
    beat.py       what is due by the clock
    <noun>.py     the jobs of a noun
"""
