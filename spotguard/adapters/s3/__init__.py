"""The store: where a bucket is, who we are there, every verb, its signature, what its failures mean, what is tried again."""
