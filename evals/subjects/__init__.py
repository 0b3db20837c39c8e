"""Subjects: each puts the inputs of a case to the real agent, through the real door, and runs the agent's own checks."""
