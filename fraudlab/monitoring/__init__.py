"""What becomes of scores after they were given: the record, labels that come later, and what is told from both."""
