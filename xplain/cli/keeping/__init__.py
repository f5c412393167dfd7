"""What is written while a run goes on, so that an interruption finds it whole."""
