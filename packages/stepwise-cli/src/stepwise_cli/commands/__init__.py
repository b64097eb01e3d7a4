"""The commands, one module each; a module imports what is heavy inside its functions."""
