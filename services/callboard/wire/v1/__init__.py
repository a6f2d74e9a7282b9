"""Generated from protos/callboard/v1 by `make proto`: change those, not these."""
