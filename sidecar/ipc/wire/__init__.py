"""zerorpc v3 without I/O: both ends of the protocol as machines over bytes (``protocols/zerorpc.md``).

    messages    one message <-> bytes
    credit      flow control of one direction: who may send how many items
    liveness    heartbeats of one channel
    server      channels of all clients, replies, streams, builtins, bounds
    client      the calling end
    outbox      what waits for a peer that does not read, and what is refused meanwhile

Time is the ``now`` argument, in seconds of any monotonic clock; random bytes come in as arguments too.
"""
