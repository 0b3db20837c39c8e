"""
Products: what is sold, how it is sold stage by stage, and who has it.

    rows.py      what a product looks like
    listing.py   the catalogue, and one product with its pipeline, customers and figures
    held.py      what a company has of each product
    stages.py    the stages of a product's sale: write, order, archive
    ordering.py  the order of the catalogue
    readings.py  what meetings say about a product: read, counted, suggested for its stages
"""
