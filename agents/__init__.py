"""Where we judge: the only floor that calls a language model."""

import os

# LangGraph reads it when first imported: checkpoints give back only types that a graph's state declares.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
