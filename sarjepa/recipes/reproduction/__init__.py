"""The parts of `sarjepa reproduce`, in the order of its work.

experiment (what to run) → plan (as commands) → walk (run them once) → accuracy (numbers over pre-trainings) → files
"""
