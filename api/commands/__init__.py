"""What a command of the shell door does, when it is more than a call; one module per command."""
