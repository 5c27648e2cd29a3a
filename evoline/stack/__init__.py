"""The local stack: every server and service as a supervised process of this machine (`evoline up`)."""
