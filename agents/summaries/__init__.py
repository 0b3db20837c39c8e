"""Summaries of deals, companies and contacts: every sentence cites what it was read from."""
