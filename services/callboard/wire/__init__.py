"""The protocol's encoding: protobuf to core values and back, statuses, addresses."""
