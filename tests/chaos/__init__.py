"""Strikes real processes under load; never part of the tests."""

import os

# Processes are started while gRPC has threads: its handlers of a fork crash in the child.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
