"""
Communications: every mail, call, meeting and message, as the fact that it happened.

    rows.py           what one looks like, who may see it, and the check that every operation starts with
    listing.py        pages of them, the original behind one, figures of a company
    conversations.py  grouped by company, or by sender while nobody knows the company
    queue.py          what waits for our answer, by urgency
    notes.py          what people write beside them
    linking.py        which company they belong to: assign, create a lead, exclude
    answering.py      that they were answered, and sending the answer
"""
