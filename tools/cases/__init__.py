"""
Support cases: what a customer wants from us, from the first message to how well they say it was settled.

    commands.py    what may be asked of a case: bodies, as routes and agents send them
    state.py       what a case is now, replayed from what happened to it
    decisions.py   what a command makes happen, and the rules that refuse it; pure
    clocks.py      which answer is owed by when: configuration, and the scan for what is due
    handling.py    opening a case and carrying commands out: load, decide, append
    rows.py        what a case looks like to those who read it
    listing.py     pages of cases, one case, its timeline
    figures.py     how many are open, and the averages of the last 30 days
    projectors.py  which read models are kept from the events
"""

from tools.cases import projectors
from tools.cases.handling import CaseChangedOut, CaseNotFound, CaseOpenedOut, execute, open_case, record_due

__all__ = ["CaseChangedOut", "CaseNotFound", "CaseOpenedOut", "execute", "open_case", "projectors", "record_due"]
