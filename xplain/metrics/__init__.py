"""How far an explanation can be trusted: faithfulness curves, localisation against the truth."""
