"""
Attention flags: what somebody should look at, and until when it may wait.

    rows.py      what a flag looks like, who may see it and who may change it
    flags.py     listing, raising, resolving, snoozing, waking
    stalls.py    flags that the pipeline raises and takes back by itself
    context.py   what a draft that answers a flag is written from
    settling.py  what follows once somebody has written to the customer
"""
