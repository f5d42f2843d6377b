"""`spotguard doctor`: every precondition of a safe run, each a module with one function `examine`."""
