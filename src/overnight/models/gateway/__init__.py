"""The gateway: answers agent CLIs in the wire format they speak, with any model of ours behind it."""
