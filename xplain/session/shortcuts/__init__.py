"""The finder of shortcuts: leads from explanations, tried by cut and paste, with a planted control."""
