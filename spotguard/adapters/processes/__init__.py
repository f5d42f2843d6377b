"""Trainers and other processes of this machine: finding, signalling, seeing what they write."""
