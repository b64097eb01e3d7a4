"""What is recorded without being asked for: console, machine, weights and gradients."""
