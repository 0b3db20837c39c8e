"""Belts: which tools are offered together, and to whom."""

from tools import (
    account_memory,
    companies,
    contact_facts,
    contacts,
    deals,
    health,
    promises,
    relationships,
    signals,
    tasks,
)
from tools.bindings.kit import PAGING, Tool, bind
from tools.communications import answering, linking, listing, notes

ASSISTANT: tuple[Tool, ...] = (
    bind(tasks.list_tasks, "read"),
    bind(tasks.create_task, "write", without=frozenset({"company_product_id"})),
    bind(tasks.complete_task, "write", without=frozenset({"action"})),
    bind(tasks.update_task, "write", without=frozenset({"completed_at"})),
    bind(deals.list_deals, "read"),
    bind(companies.list_companies, "read"),
    bind(contacts.list_contacts, "read"),
    bind(contacts.create_contact, "write"),
    bind(contact_facts.add_fact, "write"),
    bind(relationships.add_note, "write"),
    bind(notes.add_note, "write", without=frozenset({"attention_flag_id", "note_type", "action_type"})),
    bind(listing.list_communications, "read", without=PAGING | {"id", "ai_only"}),
    bind(answering.mark_answered, "write", without=frozenset({"body", "subject", "cc"})),
    bind(linking.assign_company, "write"),
    bind(signals.list_signals, "read"),
    bind(promises.list_promises, "read", without=frozenset({"include_hidden"})),
    bind(health.compute_health, "read"),
    bind(account_memory.get_memory, "read"),
)
"""What somebody who works in the CRM may ask for in a sentence. Nothing here leaves the house."""
