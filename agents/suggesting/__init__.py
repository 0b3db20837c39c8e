"""Mails that do a task: suggested, never sent."""
