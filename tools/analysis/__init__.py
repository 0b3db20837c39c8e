"""
Analysis: who reads a communication next, what the reader may know, and what is kept of the reading.

    claims.py    one reader per communication: claimed, released, given up after three attempts
    context.py   the message, its thread, its company, the open promises
    saving.py    the new version with everything that follows from it, in one transaction
"""
