"""The hallmark: what marks, signs, registers and verifies generated pictures.

Nothing here imports torch or diffusers when it is loaded: verifying needs no training extra.
"""
