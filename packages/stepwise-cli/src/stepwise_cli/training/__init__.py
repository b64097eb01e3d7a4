"""What the command line adds to training: a progress display, the journal, and the pages at the end."""
