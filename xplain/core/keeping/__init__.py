"""Files and folders that are whole or not there, values as files hold them, and text that is harmless."""
