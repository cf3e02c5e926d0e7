"""Ray: the cluster, pools that survive lost workers, batches, and the sandbox that decodes images.

The code that workers run stands in the stage or engine that uses them.
"""
