"""Facts and rules of change control: pure functions and frozen records."""
