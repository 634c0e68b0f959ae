"""A board on the web: submissions, the process that scores them, the API."""
