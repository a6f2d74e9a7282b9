"""Generated from protos/callboard/autogen/v1 by `make proto`: change those, not these."""
