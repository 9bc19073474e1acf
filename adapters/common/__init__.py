"""What every engine's adapter shares: the agent, the ranks, the seam table, the probe, the doctor and the calibration.

Nothing here imports an engine. An engine's folder holds its seam table, its layers and the names that only it has.
"""
