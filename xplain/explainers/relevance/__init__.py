"""The score handed back layer by layer: LRP, DeepLIFT, excitation backprop, attention through a transformer."""
