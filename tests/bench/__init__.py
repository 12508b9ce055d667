"""How fast pyvhdmp is, against the floor, its peers, and what it replaces.

``tests/bench/run`` measures everything in `table` and exits non-zero when a figure is missed.
Rules:

1. Absolute numbers mean nothing on a shared machine. Everything is a ratio of two things that
   took turns in one process, round by round; its median counts, and its spread is shown.
2. On Wine a call may take 5 or 100 microseconds, depending on where the kernel happens to
   run the two processes that it takes, and that stays so while they live. So each comparison
   is made in several processes, one after the other.
3. A peer does what it does best: buffers, OVERLAPPEDs and addresses are made before the clock
   runs, and it is kept busy in the same way as pyvhdmp.
"""
