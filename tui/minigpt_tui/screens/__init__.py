"""What fills the terminal: the main screen and those that open over it."""
