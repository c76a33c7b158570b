"""Sans-IO decisions and codecs of media: SDP rules, liveness, the control channel, framing."""
