"""The run as a whole in the bucket: who writes it, what may be deleted, when it is finished."""
