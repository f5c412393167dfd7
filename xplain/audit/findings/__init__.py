"""What finished records and maps say, and what the models say when they are asked again."""
