"""Rule tables: gradient, guided, deconvnet, LRP, DeepLIFT, excitation. See ``core.rules``."""
