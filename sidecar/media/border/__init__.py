"""Every change made to aiortc 1.16 and aioice 0.13, in one place, pinned by contract tests.

The libraries stay as installed; subclasses replace theirs in the modules that look the names up.
Each module says why its change is needed and what was measured.

    mdns        keeps dnspython out of the process
    install     puts all of it in place, refuses another version
    tables      codec and header-extension numbers equal to Chromium's
    gather      local addresses per connection, bounded gathering, bounded datagram queue
    transport   notes authenticated packets (liveness), identity failures, survives malformed RTP
    jitter      a video buffer that does not wait for the next frame, an audio buffer that skips holes
    receiver    encoded frames to a callback instead of an unbounded queue and a joined thread
    sender      tells who encodes that a keyframe is wanted
    peer        a connection with the fixed layout of D4
"""

from sidecar.media.border import mdns

mdns.install()
