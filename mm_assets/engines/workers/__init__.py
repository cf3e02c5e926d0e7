"""Ray: the cluster, pools that outlive lost workers, batches, and the sandbox that decodes images.

What the workers compute stands with whoever asks for it.
"""
