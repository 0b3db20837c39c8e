"""
Mail into rows: a mailbox on disk is read as a stream and written in batches, resumable and idempotent.

    sources.read -> rows.prepare -> store.store_batch (one transaction each, with the checkpoint) -> run.ingest
"""

from tools.ingest.run import IngestIn, Progress, ingest
from tools.ingest.runs import IngestRow, NoSuchMailbox, NothingToRead, find_run, list_runs

__all__ = ["IngestIn", "IngestRow", "NoSuchMailbox", "NothingToRead", "Progress", "find_run", "ingest", "list_runs"]
