"""What two tasks share."""
