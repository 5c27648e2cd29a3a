"""What the command's exit codes mean."""

EXIT_NO = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_FAULT = 4
EXIT_INTERRUPTED = 130
