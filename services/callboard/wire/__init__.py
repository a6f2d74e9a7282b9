"""The protocol's encoding: protobuf to core values and back, statuses, addresses.

Whatever imports gRPC imports this package before it, for the sake of what stands here.
"""

import os
import sys

WITHOUT_EVENT_ENGINE = "-event_engine_client,-event_engine_listener"
"""What ``GRPC_EXPERIMENTS`` is unless it is set: with the event engine, which grpcio uses by
default from 1.80 on, a round trip takes a third more of the processors' time.

Versions from 1.70 to 1.85 know both names, and change nothing where that is their default. One that
has dropped them says so in a line of its log, and goes on."""

if "grpc" not in sys.modules:  # it asks when it is imported; later this would reach children alone
    os.environ.setdefault("GRPC_EXPERIMENTS", WITHOUT_EVENT_ENGINE)
