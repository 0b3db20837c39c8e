"""The console: runs of agents as pages, for people. No script is needed to read; a little makes running runs live."""
