"""
Evaluations: what runs of evals found, and what that says about a version of a prompt.

    suites.py      which suites there are, and which prompts they hold
    rows.py        runs, cases, figures and verdicts as they are read
    reading.py     runs and their results, for admins; two runs held side by side
    verdicts.py    what a version is against another, and whether that is evidence enough to release it
    requesting.py  a run asked for over the API, carried out by a worker
    recording.py   what the evals themselves write down

Held-out cases are counted and never shown: whoever reads why they fail begins to write for them.
"""
