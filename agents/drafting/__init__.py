"""Answers to messages, written for a person to check: a draft never sends itself and never chooses its recipient."""
