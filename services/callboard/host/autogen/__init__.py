"""AutoGen's own workers at our host: the service `agents.AgentRpc`, over the same broker.

Stock workers of `autogen-ext[grpc]` connect as they are, and meet native workers there.
"""
