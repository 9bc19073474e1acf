"""The control path: the agent inside an engine, the sidecar beside it, and the switch that keeps ranks together.

Nothing here imports an inference framework, and only agent and sidecar import ZeroMQ. The protocol is declared in
messages.json, which this package reads when it is imported.
"""
