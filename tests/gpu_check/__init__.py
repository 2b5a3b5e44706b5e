"""``make gpu-check``: is everything right on this machine's GPU, and how fast is it?"""
