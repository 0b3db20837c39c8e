"""`python -m api`."""

import sys

try:
    from api.cli import main

    main()
except KeyboardInterrupt:  # Ctrl-C while something is still being imported
    sys.exit(130)
