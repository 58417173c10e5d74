"""The demo fleet: a loopback server that speaks LM Studio's API for six pretend models.

With its faults switched on it is also the tests' double of LM Studio.
"""
