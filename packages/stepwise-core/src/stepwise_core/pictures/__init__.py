"""Pictures of a run: attention heatmaps, training curves, the architecture of the actual model. PNG and SVG.

Everything is drawn with matplotlib's `Figure` alone: no global state, so any thread may draw, and nothing stays
in memory.
"""
