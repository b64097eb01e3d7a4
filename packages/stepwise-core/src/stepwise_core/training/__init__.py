"""Training: `session` puts the parts together, `loop` runs them, `step` is one step, `reports` what is told."""
