"""Where a host keeps what must outlive it."""
